"""The params of calls, as JSON, from the arguments of Python functions. Does no I/O."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from parley_clients.results import Json

if TYPE_CHECKING:
    from parley_protocol.models.parts import InputPart
    from parley_protocol.models.settings import ModelSettings

    Content = str | Sequence[InputPart | Mapping[str, Any]]
    Settings = ModelSettings | Mapping[str, Any]
    Agent = str | Mapping[str, Any]


class Unset:
    """The type of UNSET."""


UNSET = Unset()
"""The default of an argument that was not given, where None has a meaning of its own: it clears the field."""


def to_json(value: Any) -> Any:
    """Return a model of the protocol as JSON; other values unchanged."""
    to_wire = getattr(value, "to_wire", None)
    if to_wire is not None:
        return to_wire()
    if isinstance(value, list | tuple):
        return [to_json(item) for item in cast("Sequence[Any]", value)]
    return value


def call_params(**values: Any) -> Json:
    """Return the params of a call, without the values that are None."""
    return {name: to_json(value) for name, value in values.items() if value is not None}


def update_params(**values: Any) -> Json:
    """Return the params of an update, without the values that are UNSET; None clears a field."""
    return {name: to_json(value) for name, value in values.items() if value is not UNSET}


def with_agent(settings: Any, agent: "Agent | None") -> Any:
    """Return settings with `agent` in them, which is a mode such as "ask", or all settings of agents."""
    if agent is None:
        return settings
    given: Json = to_json(settings) or {}
    chosen: Json = {"mode": agent} if isinstance(agent, str) else to_json(agent)
    return {**given, "agent": chosen}


def new_message_id() -> str:
    """Return a `clientMessageId` that no other message has."""
    return os.urandom(16).hex()


def message_params(
    chat_id: str,
    content: Any,
    when_busy: Any,
    model: str | None,
    settings: Any,
    agent: "Agent | None",
    client_message_id: str | None,
) -> Json:
    """Return the params of `chat/ask` and `chat/send`.

    A message without a `client_message_id` gets a random one: the daemon recognises a message that is sent
    again by this id and does not answer it twice.
    """
    return call_params(
        chatId=chat_id,
        content=content,
        whenBusy=when_busy,
        model=model,
        settings=with_agent(settings, agent),
        clientMessageId=client_message_id or new_message_id(),
    )


def model_params(model: str) -> dict[str, str]:
    """Return the params that name a model, from "provider:model"."""
    provider, _, name = model.partition(":")
    return {"provider": provider, "model": name}
