"""The arguments of tools as a struct, from which the schema for models is derived.

A struct of arguments has `forbid_unknown_fields=True` and `rename="camel"`, and `Annotated[…, msgspec.Meta]`
for ranges and descriptions.
"""

from typing import Any, TypeVar, cast

import msgspec

from parley_daemon.ports.tools import ToolInputError

Arguments = TypeVar("Arguments", bound=msgspec.Struct)


def input_schema(of: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct of arguments, an object without references."""
    schema = msgspec.json.schema(of)
    inlined: Any = _inline(schema, schema.get("$defs", {}))
    del inlined["title"]
    return inlined


def read_arguments(of: type[Arguments], args: Any) -> Arguments:
    """Return arguments as a struct. Numbers may be strings: some models write them so.

    Raises:
        ToolInputError: they do not have the form of the struct; the message says what is expected.
    """
    if not isinstance(args, dict):
        raise ToolInputError(f"they must be a JSON object. {_expected(of)}")
    try:
        return msgspec.convert(cast("dict[str, Any]", args), of, strict=False)
    except msgspec.ValidationError as error:
        raise ToolInputError(f"{error}. {_expected(of)}") from None


def _expected(of: type[msgspec.Struct]) -> str:
    names = [
        f"{field.encode_name}{'' if field.required else ' (optional)'}"
        for field in msgspec.structs.fields(of)
    ]
    return f"Expected: {', '.join(names) or 'no arguments'}."


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inline(one, definitions) for one in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    given = cast("dict[str, Any]", schema)
    reference = given.get("$ref")
    if isinstance(reference, str):
        return _inline(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inline(value, definitions) for key, value in given.items() if key != "$defs"}
