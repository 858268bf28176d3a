"""The JSON Schema of the configuration file, from which editors complete and check it.

It is derived from the types that the file is read with, the texts below their fields, and the protocol's
schema of the settings of models.
"""

from typing import Any, cast

import msgspec

from parley_daemon import config
from parley_daemon.config import FileSettings
from parley_protocol.descriptions import describe_range, field_texts
from parley_protocol.schema import json_schema

Json = dict[str, Any]

_SETTINGS = "ModelSettings"


def config_schema() -> Json:
    """Return the schema, with the definitions of the file's tables in `$defs`.

    Raises:
        ValueError: a setting has no description.
    """
    components: dict[str, Json]
    _, components = msgspec.json.schema_components([FileSettings], ref_template="#/$defs/{name}")
    definitions = {name: _describe(name, schema) for name, schema in components.items()}
    root = definitions.pop(FileSettings.__name__)
    definitions["_Model"]["properties"]["settings"]["$ref"] = f"#/$defs/{_SETTINGS}"
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration file of parleyd",
        **root,
        "$defs": {name.removeprefix("_"): schema for name, schema in definitions.items()}
        | _definitions_of_settings(),
    }
    return msgspec.json.decode(msgspec.json.encode(document).replace(b'"#/$defs/_', b'"#/$defs/'))


def _describe(name: str, schema: Json) -> Json:
    texts = field_texts(vars(config)[name])
    for setting, value in schema["properties"].items():
        if setting not in texts:
            raise ValueError(f"{name}.{setting} has no description: write one below it in config.py")
        value["description"] = " ".join([texts[setting], *describe_range(value)])
    return {key: value for key, value in schema.items() if key != "title"}


def _definitions_of_settings() -> Json:
    """Return the protocol's definition of the settings of a model, and those that it refers to."""
    definitions: Json = json_schema()["$defs"]
    found: Json = {}
    ahead = [_SETTINGS]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = definitions[name]
            ahead += [ref.rpartition("/")[2] for ref in _references(definitions[name])]
    return found


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        items = cast("Json", value).items()
        return [ref for key, inner in items for ref in ([inner] if key == "$ref" else _references(inner))]
    return (
        [ref for inner in cast("list[object]", value) for ref in _references(inner)]
        if isinstance(value, list)
        else []
    )
