"""Output schemas as OpenAI's dialects are asked for them: strictly, loosely, or as JSON that is only told of.

Strictly is the best and has rules of its own: a schema that breaks one is refused, so it is asked for loosely
then. Whoever asked checks the answer anyway. Knows the shape of a schema, not how large one may be.
"""

import re
from collections.abc import Iterator, Mapping
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.options import Json

OPTIONS = ("structuredOutputs", "strictJsonSchema")
"""Our options that say how a schema is asked for."""

# What every model and host takes in a strict schema. Limits (`minimum`, `pattern`, `format`, …) OpenAI takes
# with its own models, but not with fine-tuned ones, and Azure does not.
_TAKEN = frozenset(
    ("$schema", "$defs", "definitions", "$ref", "title", "description", "type", "enum", "const", "anyOf")
) | frozenset(("properties", "required", "additionalProperties", "items"))
_TABLES = ("$defs", "definitions", "properties")
_OWN_REFERENCE = re.compile(r"#(/(\$defs|definitions)/.+)?")


def schema_format(schema: Mapping[str, object], options: Mapping[str, object]) -> Json:
    """Return the format to ask for, as the responses API writes it."""
    if _only_told(options):
        return {"type": "json_object"}
    strict = options.get("strictJsonSchema")
    return {
        "type": "json_schema",
        "name": re.sub(r"[^\w-]+", "_", str(schema.get("title") or "answer"), flags=re.ASCII)[:64],
        "schema": schema,
        "strict": is_strict(schema) if strict is None else strict,
    }


def add_schema_to_prompt(
    system_prompt: str | None, schema: Mapping[str, object] | None, options: Mapping[str, object]
) -> str | None:
    """Return the system prompt, with the schema in it where the model would not learn of it otherwise.

    JSON that fits no schema is what the format `json_object` asks for, and it is refused unless a message
    says "JSON".
    """
    if schema is None or not _only_told(options):
        return system_prompt
    wish = "Answer with one JSON value that fits this JSON Schema, and with nothing else:"
    return "\n\n".join(filter(None, (system_prompt, f"{wish}\n{encode_json(schema).decode()}")))


def is_strict(schema: Mapping[str, object]) -> bool:
    """Whether a schema keeps the rules of strict ones.

    It is an object; each object in it is closed and needs all of its properties; each of its schemas has a
    type, is a choice or refers to another; it says nothing that is not known there.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return False
    waiting: list[object] = [schema]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping) or not _keeps_the_rules(cast("Json", one)):
            return False
        waiting += _inner(cast("Json", one))
    return True


def _only_told(options: Mapping[str, object]) -> bool:
    return options.get("structuredOutputs") is False


def _keeps_the_rules(schema: Json) -> bool:
    if not _TAKEN.issuperset(schema):
        return False
    if "$ref" in schema:  # nothing may stand beside it
        return len(schema) == 1 and _OWN_REFERENCE.fullmatch(str(schema["$ref"])) is not None
    kinds = schema.get("type")
    kinds = cast("list[object]", kinds) if isinstance(kinds, list) else [kinds]
    if "array" in kinds and "items" not in schema:
        return False
    if "object" in kinds or "properties" in schema:
        properties, needed = schema.get("properties"), schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(properties, Mapping):
            return False
        return set(cast("Json", properties)) == set(cast("list[str]", needed))
    return "type" in schema or "anyOf" in schema


def _inner(schema: Json) -> Iterator[object]:
    for name in _TABLES:
        yield from cast("Json", schema.get(name, {})).values()
    yield from cast("list[object]", schema.get("anyOf", []))
    if "items" in schema:
        yield schema["items"]
