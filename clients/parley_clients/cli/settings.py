"""The settings of model calls on the command line: `-o name=value`, and the schema of an answer.

Names, types and bounds come from the JSON Schema of `ModelSettings`, so that a new setting needs no code
here. A name is the path of a field, such as `temperature`, `timeouts.totalMs` or `openai.reasoningEffort`
(`providerOptions.` may be left out); case, - and _ do not matter. A path may lead into a field that takes any
object: `openaiCompat.extraBody.min_p=0.1`. What the schema does not express, the daemon checks.

Importing this module loads pydantic: import it only for a command that has settings.
"""

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, cast

from parley_clients.cli.errors import UsageError, check_text
from parley_clients.results import Json
from parley_protocol.models.settings import ModelSettings

_OPTIONAL_PREFIX = "providerOptions"
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def read_settings(words: Sequence[str]) -> Json:
    """Return the settings that words like "temperature=0.2" give, as JSON for the daemon.

    Raises:
        UsageError: a name is unknown, or a value does not fit its setting.
    """
    settings: Json = {}
    for word in words:
        name, equals, value = check_text(word, "A setting").partition("=")
        if not equals or not name.strip():
            raise UsageError(f"Give a setting as name=value, such as temperature=0.2, not {word!r}.")
        _store(settings, name.strip(), value.strip())
    return settings


def list_settings() -> dict[str, str]:
    """Return the names of all settings, `providerOptions.` left out, and what each is."""
    return {".".join(_short(path)): _describe(path, schema) for path, schema in _leaves().items()}


def list_values(name: str) -> list[str]:
    """Return the values that a setting can have, as far as they can be listed."""
    try:
        _, schema, rest = _find(name)
    except UsageError:
        return []
    if rest:
        return []
    return ["true", "false"] if schema.get("type") == "boolean" else [str(v) for v in schema.get("enum", [])]


def read_schema(name: str) -> Json:
    """Return the JSON Schema in a file, or in the word itself if it begins with {.

    Raises:
        UsageError: it cannot be read, or is no JSON object.
    """
    text, source = name, "The schema"
    if not name.lstrip().startswith("{"):
        source = name
        try:
            text = Path(name).expanduser().read_bytes().decode("utf-8-sig")
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise UsageError(f"Cannot read {name}: {reason}.") from None
    try:
        schema: object = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{source} is not JSON: {error}.") from None
    if not isinstance(schema, dict):
        raise UsageError(f"{source} is not a JSON Schema: it must be an object.")
    return cast("Json", schema)


# ------------------------------------------------------------------------ the schema


@cache
def _root() -> Json:
    return ModelSettings.model_json_schema(by_alias=True)


def _resolve(schema: Json) -> Json:
    """Return the schema behind references, and without the choice of null."""
    while True:
        others = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf", "allOf")}
        if "$ref" in schema:
            schema = {**_root()["$defs"][schema["$ref"].rpartition("/")[2]], **others}
        elif "anyOf" in schema or "allOf" in schema:
            choices = [c for c in schema.get("anyOf") or schema["allOf"] if c.get("type") != "null"]
            if len(choices) != 1:
                return schema
            schema = {**choices[0], **others}
        else:
            return schema


@cache
def _leaves() -> dict[tuple[str, ...], Json]:
    return dict(_walk(_root(), ()))


def _walk(schema: Json, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Json]]:
    for name, field in schema["properties"].items():
        resolved = _resolve(field)
        if "properties" in resolved:
            yield from _walk(resolved, (*path, name))
        else:
            yield (*path, name), resolved


@cache
def _groups() -> set[tuple[str, ...]]:
    """Return the paths of the objects that have settings, such as `timeouts`: they can be given as JSON."""
    return {path[:length] for path in _leaves() for length in range(1, len(path))}


def _short(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[1:] if path[0] == _OPTIONAL_PREFIX else path


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _describe(path: tuple[str, ...], schema: Json) -> str:
    """Return the type of a setting and the first line of its description."""
    text = " ".join(str(schema.get("description") or "").split())
    return f"{_expected(schema)}. {text}".rstrip(". ")


# ------------------------------------------------------------------------- one value


def _store(settings: Json, name: str, value: str) -> None:
    """Put the value of a setting into the tree of settings.

    Raises:
        UsageError: see `read_settings`.
    """
    path, schema, rest = _find(name)
    place = settings
    for key in (*path, *rest)[:-1]:
        inner: object = place.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{name} contradicts an earlier -o, which set {key} as a whole.")
        place = cast("Json", inner)
    last = (*path, *rest)[-1]
    if rest:
        inside: Json | bool = schema.get("additionalProperties", True)
        place[last] = _read_any(value) if isinstance(inside, bool) else _read(name, value, inside)
    elif path in _groups():
        place[last] = {**(place.get(last) or {}), **(_read(name, value, schema) or {})}
    elif schema.get("type") == "array" and _takes_texts(schema) and value and not value.startswith("["):
        place[last] = [*(place.get(last) or []), value]
    else:
        place[last] = _read(name, value, schema)


def _takes_texts(schema: Json) -> bool:
    return _resolve(schema.get("items", {})).get("type") == "string"


def _find(name: str) -> tuple[tuple[str, ...], Json, list[str]]:
    """Return the path and the schema of a setting, and what of the name leads on into its value."""
    words = name.split(".")
    wanted = [_plain(word) for word in words]
    for path, schema in _leaves().items():
        for form in (path, _short(path)):
            if wanted[: len(form)] == [_plain(key) for key in form]:
                rest = words[len(form) :]
                if not rest or (schema.get("type") == "object" and all(rest)):
                    return path, schema, rest
    for path in _groups():
        if wanted in ([_plain(key) for key in form] for form in (path, _short(path))):
            return path, {"type": "object"}, []
    known = {_plain(".".join(_short(path))): ".".join(_short(path)) for path in _leaves()}
    # The last word alone finds `reasoningEffort`, which several providers have.
    ends = [shown for shown in known.values() if _plain(shown.rpartition(".")[2]) == wanted[-1]]
    close = ends or [known[found] for found in get_close_matches(".".join(wanted), known, 3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else "Complete the name with Tab to see them all."
    raise UsageError(f"There is no setting {name}. {hint}")


def _read(name: str, value: str, schema: Json) -> Any:
    kind = schema.get("type")
    if value == "null" and kind != "string":
        return None
    match kind:
        case "string":
            read: Any = value
        case "boolean":
            read = True if value.lower() in _TRUE else False if value.lower() in _FALSE else None
        case "integer" | "number":
            read = _read_number(value, whole=kind == "integer")
        case "array":
            read = _read_json(name, value, list) if value else []
        case "object":
            read = _read_json(name, value, dict)
        case _:
            read = _read_any(value)
    if read is None or not _is_in_bounds(read, schema):
        raise UsageError(f"{name} must be {_expected(schema)}, not {value!r}.")
    return read


def _read_number(value: str, *, whole: bool) -> int | float | None:
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        return None
    return number if number == number and abs(number) != float("inf") else None


def _read_json(name: str, value: str, kind: type) -> Any:
    try:
        read: object = json.loads(value)
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {error}.") from None
    return read if isinstance(read, kind) else None


def _read_any(value: str) -> Any:
    """Return a value of any type: as JSON if it is JSON, else as text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _is_in_bounds(value: Any, schema: Json) -> bool:
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return not isinstance(value, str) or len(value) >= schema.get("minLength", 0)
    if value <= schema.get("exclusiveMinimum", value - 1) or value >= schema.get(
        "exclusiveMaximum", value + 1
    ):
        return False
    return schema.get("minimum", value) <= value <= schema.get("maximum", value)


def _expected(schema: Json) -> str:
    """Return what a value must be, such as "a number from 0 to 2"."""
    if "enum" in schema or "const" in schema:
        return " or ".join(str(choice) for choice in schema.get("enum", [schema.get("const")]))
    names = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "a text",
    }
    kind = str(schema.get("type"))
    if kind == "array":
        return (
            "a text (give the option again for more) or a JSON list"
            if _takes_texts(schema)
            else "a JSON list"
        )
    if kind == "object":
        return "a JSON object"
    low, high = schema.get("minimum"), schema.get("maximum")
    high = None if high is not None and abs(high) >= 2**53 - 1 else high
    low = None if low is not None and abs(low) >= 2**53 - 1 else low
    bounds = "" if low is None else f" from {low:g}" if high is not None else f" of at least {low:g}"
    bounds += "" if high is None else f" to {high:g}" if low is not None else f" of at most {high:g}"
    return names.get(kind, "a value") + bounds
