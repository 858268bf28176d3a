"""A chat as an object that carries its id: everything that can be done in it. Holds no history."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from parley_clients.errors import ParleyError, error_from_wire
from parley_clients.link import Link
from parley_clients.results import Answer, ChatRecord, ChatSnapshot, Json, Sent
from parley_clients.stream import TurnStream
from parley_clients.view import LiveChat
from parley_protocol.fold import ChatView

if TYPE_CHECKING:
    from parley_protocol.parts import InputPart
    from parley_protocol.settings import ModelSettings
    from parley_protocol.turns import WhenBusy

    Content = str | Sequence[InputPart | Mapping[str, Any]]


class Unset:
    """The type of UNSET."""


UNSET = Unset()
"""Stands for an argument that was not given, where None means something."""


def given(**params: Any) -> Json:
    """Return params as JSON without those that are None or UNSET."""
    return {
        name: as_json(value) for name, value in params.items() if value is not None and value is not UNSET
    }


def as_json(value: Any) -> Any:
    """Return a value of the wire's models as JSON; JSON as it is."""
    to_wire = getattr(value, "to_wire", None)
    if to_wire is not None:
        return to_wire()
    return (
        [as_json(one) for one in cast("Sequence[Any]", value)] if isinstance(value, list | tuple) else value
    )


class Chat:
    """One chat, by its id. Any number of calls may be under way at once, in this chat and in others.

    `record` is the chat as the last call told it (None for a chat that was only named so far); `get` reads
    it anew. Every call raises ParleyError as the daemon's answer or the lost connection has it, and
    TimeoutError when its `timeout` in seconds passes; a call that is cancelled is cancelled in the daemon.
    """

    def __init__(self, link: Link, chat_id: str, record: ChatRecord | None = None) -> None:
        self.id = chat_id
        self.record = record
        self._link = link

    def __repr__(self) -> str:
        return f"<Chat {self.id}>"

    # ----------------------------------------------------------------------- turns

    async def ask(
        self,
        content: "Content",
        *,
        when_busy: "WhenBusy | None" = None,
        model: str | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        client_message_id: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send a message and return what its turn came to, once it has ended.

        `content` is text, or a list of input parts. A failed turn is an answer too, with `outcome` "failed".
        Cancelling this call, and its timeout, interrupt the turn. When the connection is lost, the turn goes
        on: ask again with the error's `client_message_id` to get the same turn's answer and not another one.
        """
        params = self._message(content, when_busy, model, settings, client_message_id)
        raw = await self._submit("chat/ask", params, timeout)
        return Answer(raw, params["clientMessageId"])

    def stream(
        self,
        content: "Content",
        *,
        when_busy: "WhenBusy | None" = None,
        model: str | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        client_message_id: str | None = None,
    ) -> TurnStream:
        """Return the events of the turn that answers this message, for `async for`; see TurnStream.

        The last event is `turn_ended`, also for a turn that failed. Leaving the loop before it interrupts
        the turn.
        """
        params = self._message(content, when_busy, model, settings, client_message_id)
        return TurnStream(self._link, params, params["clientMessageId"])

    async def send(
        self,
        content: "Content",
        *,
        when_busy: "WhenBusy | None" = None,
        model: str | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        client_message_id: str | None = None,
        timeout: float | None = None,
    ) -> Sent:
        """Send a message and return once it is on disk; its turn goes on by itself."""
        params = self._message(content, when_busy, model, settings, client_message_id)
        raw = await self._submit("chat/send", params, timeout)
        return Sent(raw, params["clientMessageId"])

    async def interrupt(self, *, timeout: float | None = None) -> ChatRecord:
        """Stop the turn under way, if there is one; what there is of its answer is kept."""
        return await self._change("chat/interrupt", {}, timeout)

    # ------------------------------------------------------------------ the chat itself

    async def get(
        self,
        *,
        limit: int | None = None,
        after_message_id: int | None = None,
        before_message_id: int | None = None,
        timeout: float | None = None,
    ) -> ChatSnapshot:
        """Read the chat with its newest messages, or those after or before one; at most `limit` (200)."""
        params = given(limit=limit, afterMessageId=after_message_id, beforeMessageId=before_message_id)
        raw = await self._link.call("chat/get", {"chatId": self.id, **params}, timeout)
        self.record = ChatRecord("chat/update", raw["chat"])
        return ChatSnapshot("chat/get", raw)

    async def set_model(self, model: str, *, timeout: float | None = None) -> ChatRecord:
        """Choose the model ("provider:model") of the next turns."""
        return await self._change("chat/setModel", {"model": model}, timeout)

    async def update(
        self,
        *,
        title: str | Unset | None = UNSET,
        system_prompt: str | Unset | None = UNSET,
        settings: "ModelSettings | Mapping[str, Any] | Unset | None" = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        timeout: float | None = None,
    ) -> ChatRecord:
        """Change what is given; None clears it."""
        changes = {"title": title, "systemPrompt": system_prompt, "settings": settings, "metadata": metadata}
        params = {name: as_json(value) for name, value in changes.items() if value is not UNSET}
        return await self._change("chat/update", params, timeout)

    async def delete(self, *, timeout: float | None = None) -> None:
        """Delete the chat for good."""
        raw = await self._link.call("chat/delete", {"chatIds": [self.id]}, timeout)
        for error in raw["errors"]:
            raise error_from_wire(error)

    def attach(self, *, after: int | None = None, tail: int = 100, state: ChatView | None = None) -> LiveChat:
        """Return a live view of the chat, for `async with`; see LiveChat.

        It begins with a snapshot with the newest `tail` messages (0 to 1000); or after the event number
        `after`, which leaves the view without `state`; or goes on with the `state` of an earlier view.
        """
        return LiveChat(self._link, self.id, after, tail, state)

    # ------------------------------------------------------------------------ inside

    def _message(
        self, content: Any, when_busy: Any, model: str | None, settings: Any, client_message_id: str | None
    ) -> Json:
        return given(
            chatId=self.id,
            content=content,
            whenBusy=when_busy,
            model=model,
            settings=settings,
            clientMessageId=client_message_id or os.urandom(16).hex(),
        )

    async def _submit(self, method: str, params: Json, timeout: float | None) -> Any:
        try:
            return await self._link.call(method, params, timeout)
        except ParleyError as error:
            error.client_message_id = params["clientMessageId"]
            raise

    async def _change(self, method: str, params: Json, timeout: float | None) -> ChatRecord:
        raw = await self._link.call(method, {"chatId": self.id, **params}, timeout)
        self.record = ChatRecord(method, raw)
        return self.record
