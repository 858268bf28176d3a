"""Writes JSON Schema definitions as TypeScript. Supports the keywords that the protocol's schemas use."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def declaration(name: str, schema: Mapping[str, Any]) -> str:
    """Return `export interface …` for an object with properties, `export type …` for anything else."""
    comment = doc_comment(schema.get("description", ""))
    if "properties" in schema or schema.get("additionalProperties") is False:
        return f"{comment}export interface {name} {_members(schema)}\n"
    return f"{comment}export type {name} = {type_of(schema)};\n"


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the TypeScript type of a schema.

    Raises:
        ValueError: the schema uses a keyword that this generator does not know.
    """
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "const" in schema:
        return literal(schema["const"])
    if "enum" in schema:
        return " | ".join(map(literal, schema["enum"]))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return " | ".join(dict.fromkeys(map(type_of, schema[keyword])))
    kind = schema.get("type")
    if kind == "array":
        item = type_of(schema.get("items", {}))
        return f"({item})[]" if " | " in item else f"{item}[]"
    if kind == "object":
        if "properties" in schema:
            return _members(schema)
        values = schema.get("additionalProperties", True)
        return f"Record<string, {'unknown' if values is True else type_of(values)}>"
    if kind is None:
        if schema.keys() - {"default", "description", "title"}:
            raise ValueError(f"no TypeScript for {dict(schema)!r}")
        return "unknown"
    return _SIMPLE[kind]


def literal(value: object) -> str:
    """Return a JSON scalar as a TypeScript literal type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def doc_comment(text: str, indent: str = "") -> str:
    """Return the text as a `/** … */` comment with its line end; nothing for no text."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    body = "".join([f"{indent} * {line}".rstrip() + "\n" for line in lines])
    return f"{indent}/**\n{body}{indent} */\n"


def members(rows: Iterable[tuple[str, bool, str, str]]) -> str:
    """Return `{ name: type; … }`, one row a line, from (name, required, type, description)."""
    body = "".join(
        [
            f"{doc_comment(text, '  ')}  {_key(name)}{'' if required else '?'}: {kind};\n"
            for name, required, kind, text in rows
        ]
    )
    return f"{{\n{body}}}" if body else "{}"


def _members(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    properties: Mapping[str, Any] = schema.get("properties", {})
    return members(
        [
            (name, name in required, type_of(value), value.get("description", ""))
            for name, value in properties.items()
        ]
    )


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else f'"{name}"'
