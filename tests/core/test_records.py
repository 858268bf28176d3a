"""Sums and overlays of the core's records, and what keeps them plain."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

from parley_daemon.core import commands, events, parts
from parley_daemon.core import records as chats
from parley_daemon.core.events import (
    ChatChanged,
    ErrorRaised,
    Event,
    MessageAdded,
    MessagePart,
    QueueUpdated,
    StatusChanged,
    Timings,
    TurnEnded,
    TurnStarted,
    turn_of,
)
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Failure, ModelSettings, Status, Timeouts, Usage
from tests.support.engine.records import a_chat, a_message


def test_usage_adds_up_field_by_field() -> None:
    first = Usage(1, 2, 3, cost_usd=0.5, context_limit=1000)
    second = Usage(10, None, 30, reasoning_tokens=7, cost_usd=0.25, context_limit=2000)
    assert first.add(second) == Usage(11, 2, 33, 7, context_limit=2000, cost_usd=0.75)
    assert Usage().add(Usage()) == Usage()
    assert first.add(Usage()) == first == Usage().add(first)


def test_settings_lie_over_others_name_by_name() -> None:
    base = ModelSettings(
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        timeouts=Timeouts(connect_ms=1, idle_ms=2),
        provider_options={"openai": {"user": "a", "store": True}, "google": {"x": 1}},
    )
    upper = ModelSettings(
        temperature=0.0,
        timeouts=Timeouts(idle_ms=0),
        provider_options={"openai": {"user": "b"}},
    )
    assert upper.with_defaults(base) == ModelSettings(
        temperature=0.0,
        top_p=0.9,
        stop=("END",),
        timeouts=Timeouts(connect_ms=1, idle_ms=0),
        provider_options={"openai": {"user": "b", "store": True}, "google": {"x": 1}},
    )
    assert ModelSettings().with_defaults(base) == base


EVENTS: list[tuple[Event, str | None]] = [
    (StatusChanged(Status.RUNNING, "t1"), "t1"),
    (StatusChanged(Status.WAITING), None),
    (TurnStarted("t1", 1, None), "t1"),
    (MessagePart("t1", 2, 0, "assistant", Text("x")), "t1"),
    (MessageAdded(a_message(1), "t1"), "t1"),
    (QueueUpdated(()), None),
    (ErrorRaised(Failure("internal", "x"), "t1"), "t1"),
    (ChatChanged(a_chat(), Status.WAITING), None),
    (TurnEnded("t1", "completed", "stop", None, Timings(0, None, 0, 1), None, None), "t1"),
]


@pytest.mark.parametrize(("event", "turn_id"), EVENTS)
def test_an_event_knows_its_turn(event: Event, turn_id: str | None) -> None:
    assert turn_of(event) == turn_id


def records(module: ModuleType) -> Iterator[type[Any]]:
    for _, kind in inspect.getmembers(module, inspect.isclass):
        is_public_struct = issubclass(kind, msgspec.Struct) and not kind.__name__.startswith("_")
        if is_public_struct and kind.__module__ == module.__name__:
            yield kind


@pytest.mark.parametrize(
    "kind", [kind for module in (chats, commands, events, parts) for kind in records(module)]
)
def test_records_are_frozen_and_lean(kind: type[Any]) -> None:
    assert kind.__struct_config__.frozen
    assert not kind.__struct_config__.gc
    assert "__dict__" not in dir(kind)
