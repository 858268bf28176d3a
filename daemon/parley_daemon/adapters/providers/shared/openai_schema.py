"""Output schemas for OpenAI's two dialects: strict, loose, or only described in the system prompt.

A strict schema is enforced by the provider and has rules of its own; a request with a schema that breaks one
is refused, so such a schema is sent as a loose one. The answer is validated later in any case. Source:
https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

import re
from collections.abc import Iterator, Mapping
from typing import cast

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.adapters.providers.shared.tool_schema import LIMITS, SchemaRules

TOOL_RULES = SchemaRules(
    keywords=LIMITS | {"pattern", "default"},
    formats=frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")),
)
"""What may stand in the input schema of a tool that is not strict."""

OPTIONS = ("structuredOutputs", "strictJsonSchema")
"""The options that select how a schema is sent."""

# The keywords that every model and host accepts in a strict schema. OpenAI accepts limits (`minimum`,
# `pattern`, `format`, ...) with its own models, but not with fine-tuned ones; Azure does not accept them.
_KEYWORDS = frozenset(
    ("$schema", "$defs", "definitions", "$ref", "title", "description", "type", "enum", "const", "anyOf")
) | frozenset(("properties", "required", "additionalProperties", "items"))
_TABLES = ("$defs", "definitions", "properties")
_OWN_REFERENCE = re.compile(r"#(/(\$defs|definitions)/.+)?")


def schema_format(
    schema: Mapping[str, object], options: Mapping[str, object], *, omits_strict: bool = False
) -> Json:
    """Return the format field for a schema, in the form of the responses API.

    `omits_strict`: without `strict`, unless the options set it.
    """
    if _is_prompt_only(options):
        return {"type": "json_object"}
    strict = options.get("strictJsonSchema")
    format: Json = {
        "type": "json_schema",
        "name": re.sub(r"[^\w-]+", "_", str(schema.get("title") or "answer"), flags=re.ASCII)[:64],
        "schema": schema,
        "strict": is_strict(schema) if strict is None else strict,
    }
    if omits_strict and strict is None:
        del format["strict"]
    return format


def add_schema_to_prompt(
    system_prompt: str | None, schema: Mapping[str, object] | None, options: Mapping[str, object]
) -> str | None:
    """Return the system prompt, with the schema appended when it is not sent in another way.

    The format `json_object` does not contain the schema, and is refused unless a message contains "JSON".
    """
    if schema is None or not _is_prompt_only(options):
        return system_prompt
    instruction = "Answer with one JSON value that fits this JSON Schema, and with nothing else:"
    return "\n\n".join(filter(None, (system_prompt, f"{instruction}\n{encode_json(schema).decode()}")))


def is_strict(schema: Mapping[str, object]) -> bool:
    """Return whether a schema follows the rules of strict schemas.

    The root is an object; each object is closed and requires all of its properties; each schema has a type,
    is an `anyOf` or a reference; no other keywords are used.
    """
    if schema.get("type") != "object" or "anyOf" in schema:
        return False
    pending: list[object] = [schema]
    while pending:
        subschema = pending.pop()
        if not isinstance(subschema, Mapping) or not _follows_the_rules(cast("Json", subschema)):
            return False
        pending += _subschemas(cast("Json", subschema))
    return True


def _is_prompt_only(options: Mapping[str, object]) -> bool:
    return options.get("structuredOutputs") is False


def _follows_the_rules(schema: Json) -> bool:
    if not _KEYWORDS.issuperset(schema):
        return False
    if "$ref" in schema:  # nothing may stand beside it
        return len(schema) == 1 and _OWN_REFERENCE.fullmatch(str(schema["$ref"])) is not None
    types = schema.get("type")
    types = cast("list[object]", types) if isinstance(types, list) else [types]
    if "array" in types and "items" not in schema:
        return False
    if "object" in types or "properties" in schema:
        properties, needed = schema.get("properties"), schema.get("required", [])
        if schema.get("additionalProperties") is not False or not isinstance(properties, Mapping):
            return False
        return set(cast("Json", properties)) == set(cast("list[str]", needed))
    return "type" in schema or "anyOf" in schema


def _subschemas(schema: Json) -> Iterator[object]:
    for name in _TABLES:
        yield from cast("Json", schema.get(name, {})).values()
    yield from cast("list[object]", schema.get("anyOf", []))
    if "items" in schema:
        yield schema["items"]
