"""The generated files: current, complete, and true of the models."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from parley_protocol import typescript
from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS, Kind
from parley_protocol.models.base import Params
from parley_protocol.models.events import EVENT_TYPES
from parley_protocol.schema import COMMAND, DEFAULT_OUT, main, models, stale_files

# What the committed files hold; one test compares them with what is generated.
DOCUMENT: dict[str, Any] = json.loads((DEFAULT_OUT / "parley.schema.json").read_text("utf-8"))
DEFINITIONS: dict[str, dict[str, Any]] = DOCUMENT["$defs"]
TYPES = (DEFAULT_OUT / "parley.d.ts").read_text("utf-8")


def test_the_committed_files_are_what_the_table_gives() -> None:
    assert stale_files(DEFAULT_OUT) == [], f"protocol/schema is stale; run: {COMMAND}"


@pytest.mark.slow
def test_generating_in_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parley_protocol.schema", "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=50)
    assert stale_files(tmp_path) == []


def test_check_says_what_to_run_when_a_file_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", "--out", str(tmp_path)]) == 1
    assert COMMAND in capsys.readouterr().err
    assert main(["--out", str(tmp_path)]) == 0
    assert main(["--check", "--out", str(tmp_path)]) == 0
    (tmp_path / "parley.d.ts").write_text("// edited by hand\n")
    assert main(["--check", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "parley.d.ts" in told
    assert "parley.schema.json" not in told


def test_every_method_model_and_error_code_is_in_both_files() -> None:
    assert list(DOCUMENT["methods"]) == list(METHODS)
    assert {name: entry["code"] for name, entry in DOCUMENT["errorCodes"].items()} == {
        code.name: int(code) for code in ErrorCode
    }
    for model in models():
        assert model.__name__ in DEFINITIONS
        assert re.search(rf"^export interface {model.__name__} ", TYPES, re.M), model.__name__
    for method in METHODS.values():
        assert method.params is None or method.params.__name__ in DEFINITIONS
        table = "Methods" if method.kind is Kind.REQUEST else "Notifications"
        rows = TYPES.partition(f"export interface {table} {{")[2].partition("\n}\n")[0]
        assert re.search(rf'^  "?{re.escape(method.name)}"?: ', rows, re.M), method.name


def test_every_reference_leads_somewhere_and_every_definition_is_used() -> None:
    referred = set(_references(DOCUMENT))
    assert referred <= DEFINITIONS.keys()
    # Read by clients outside of any result: the data of an error, and the file in an export's text.
    assert DEFINITIONS.keys() - referred <= {"InvalidParamsData", "ChatFile"}


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            if key == "$ref":
                yield str(inner).rpartition("/")[2]
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _references(inner)


def test_the_event_union_has_every_event_type() -> None:
    names = [reference["$ref"].rpartition("/")[2] for reference in DEFINITIONS["Event"]["oneOf"]]
    types = [DEFINITIONS[name]["properties"]["type"]["const"] for name in names]
    assert types == list(EVENT_TYPES)
    assert re.search(r"^export type Event = StatusEvent \| .* \| ResetEvent;$", TYPES, re.M)


def test_an_object_of_a_result_has_all_its_fields_and_a_part_only_those_of_its_type() -> None:
    chat = DEFINITIONS["Chat"]
    assert set(chat["required"]) == set(chat["properties"])
    assert DEFINITIONS["SourcePart"]["required"] == ["type", "sourceId", "url", "title"]
    assert DEFINITIONS["SourcePart"]["properties"]["text"]["type"] == "string"
    assert DEFINITIONS["ChatSendParams"]["required"] == ["chatId", "content"]
    assert DEFINITIONS["ChatSendParams"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({}, "unknown"),
        ({"const": True}, "true"),
        ({"const": "a"}, '"a"'),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}, "number | null"),
        ({"type": "array", "items": {"$ref": "#/$defs/Chat"}}, "Chat[]"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, '("a" | "b")[]'),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "Record<string, string>"),
        ({"type": "object", "additionalProperties": True}, "Record<string, unknown>"),
        ({"type": "object", "properties": {"a-b": {"type": "null"}}}, '{\n  "a-b"?: null;\n}'),
    ],
)
def test_a_schema_is_written_as_its_typescript_type(schema: dict[str, Any], written: str) -> None:
    assert typescript.type_of(schema) == written


def test_a_schema_that_the_generator_does_not_know_is_refused_and_not_guessed() -> None:
    with pytest.raises(ValueError, match="allOf"):
        typescript.type_of({"allOf": [{"type": "string"}]})


# --------------------------------------------------------------- the schema and the models

# What a schema cannot say: either the one or the other.
TIME = "2026-01-02T03:04:05.678Z"
EXAMPLES: dict[str, Any] = {
    "FilePart": {"type": "file", "mediaType": "image/png", "url": "https://example.org/a.png"},
    "ChatFileParams": {"chatId": "c1", "messageId": 1, "queuedMessageId": None, "index": 0},
    "ChatDeleteParams": {"chatIds": None, "all": True},
}


def _example(schema: dict[str, Any], *, full: bool) -> Any:
    """Return a value that fits the schema: with every property, or with the required ones alone."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return EXAMPLES.get(name) or _example(DEFINITIONS[name], full=full)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return _example(schema[keyword][0 if full else -1], full=full)
    match schema.get("type"):
        case "object":
            properties: dict[str, Any] = schema.get("properties", {})
            names = properties if full else schema.get("required", [])
            return {name: _example(properties[name], full=full) for name in names}
        case "array":
            items = 1 if full else schema.get("minItems", 0)
            return [_example(schema["items"], full=full) for _ in range(items)]
        case "string":
            if schema.get("format") == "uri":
                return "file:///abc"
            is_time = schema.get("format") == "date-time" or schema.get("pattern", "").startswith(r"^\d{4}")
            return TIME if is_time else "abc"
        case "integer" | "number":
            return min(2, schema.get("maximum", 2))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return {"any": ["JSON", 1]}


@pytest.mark.parametrize("full", [True, False], ids=["full", "bare"])
def test_what_the_schema_describes_is_what_the_model_reads_and_writes(full: bool) -> None:
    for model in models():
        value = _example({"$ref": f"#/$defs/{model.__name__}"}, full=full)
        read = model.from_wire(value) if issubclass(model, Params) else model.model_validate(value)
        written = read.to_wire()
        assert value.keys() <= written.keys(), model
        if full or issubclass(model, Params):
            assert written == value, model
        assert model.model_validate(written) == read, model
