"""The events of the core and those of the protocol: the same types with the same fields."""

import ast
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from pydantic.alias_generators import to_camel

from parley_daemon import engine
from parley_daemon.core.events import Event
from parley_protocol.models.events import EVENT_TYPES, EventBase

IN_THE_CORE = {str(kind.__struct_config__.tag): kind for kind in get_args(Event)}
NOT_IN_THE_CORE = {
    "reset",  # written by the stream of a client that fell behind
}
WRITTEN_OUT = {"chat", "message_part", "queue_update"}  # their fields are not those of the record


def test_every_event_of_the_core_is_an_event_of_the_protocol() -> None:
    assert set(IN_THE_CORE) | NOT_IN_THE_CORE == set(EVENT_TYPES)


@pytest.mark.parametrize("name", sorted(set(IN_THE_CORE) - WRITTEN_OUT))
def test_an_event_has_the_fields_that_the_protocol_says(name: str) -> None:
    sent = {field.encode_name for field in msgspec.structs.fields(IN_THE_CORE[name])}
    told = {
        to_camel(field) for field in EVENT_TYPES[name].model_fields if field not in EventBase.model_fields
    }
    optional = {"turnId"} if "turnId" not in sent else set[str]()
    assert sent == told - {"type"} - optional


def test_every_event_of_the_core_is_published_somewhere_in_the_engine() -> None:
    made = {
        node.func.id
        for path in Path(engine.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    missing = {kind.__name__ for kind in get_args(Event)} - made
    assert not missing, f"no module of the engine makes these events: {missing}"
