"""The arguments of a built-in tool as a msgspec struct: its JSON Schema, and how the calls are read."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from parley_daemon.ports.tools import ToolInputError

Arguments = TypeVar("Arguments", bound=msgspec.Struct)


def input_schema(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct, without references: some providers do not take them."""
    schema = msgspec.json.schema(shape)
    definitions: Mapping[str, Any] = schema.pop("$defs", {})
    return _inline(schema, definitions)


def read_arguments(args: Any, shape: type[Arguments]) -> Arguments:
    """Return the arguments of a call as a struct.

    Raises:
        ToolInputError: they do not fit; the message names the place.
    """
    try:
        return msgspec.convert(args, shape)
    except msgspec.ValidationError as error:
        raise ToolInputError(f"The arguments are invalid: {error}.") from None


def _inline(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(item, definitions) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    reference = fields.get("$ref")
    if isinstance(reference, str):
        fields = {**definitions[reference.rpartition("/")[2]], **fields}
        del fields["$ref"]
    if "enum" in fields:
        fields = {"type": "string", **fields}  # Google's API requires it
    return {
        name: _inline(value, definitions)
        for name, value in fields.items()
        if not (name == "title" and isinstance(value, str))
    }
