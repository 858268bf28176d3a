"""The half of a chat that runs turns: asking, editing, trying again, stopping, compacting."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from parley_clients.connection.reconnect import Link
from parley_clients.errors import ParleyError
from parley_clients.params import as_json, given
from parley_clients.results import Answer, ChatRecord, Json, Result, Sent
from parley_clients.streaming.turn_request import Asking, Rerun
from parley_clients.streaming.turn_stream import TurnStream

if TYPE_CHECKING:
    from parley_clients.params import Content
    from parley_protocol.models.objects import Message
    from parley_protocol.models.settings import ModelSettings
    from parley_protocol.models.turns import WhenBusy


class ChatTurns:
    """The turns of one chat; see `parley_clients.chat.Chat`, which is what one has."""

    def __init__(self, link: Link, chat_id: str, record: ChatRecord | None = None) -> None:
        self.id = chat_id
        self.record = record
        self._link = link

    # -------------------------------------------------------------------- messages

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

        `content` is text, or a list of input parts. `when_busy` says what to do while a turn runs: "queue"
        (the default), "steer" it, "interrupt" it, or "reject" the message. A failed turn is an answer too,
        with `outcome` "failed". Cancelling this call, and its timeout, interrupt the turn. When the
        connection is lost, the turn goes on: ask again with the error's `client_message_id` to get the same
        turn's answer and not another one.
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
        the turn. `stream(…).text()` has the text alone.
        """
        params = self._message(content, when_busy, model, settings, client_message_id)
        return TurnStream(self._link, Asking(self._link, params))

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

    # ----------------------------------------------------------------------- again

    async def edit(
        self, message_id: int, content: "Content", *, model: str | None = None, timeout: float | None = None
    ) -> Answer:
        """Say a user message differently, and return what the turn that answers it came to.

        The new message stands beside the old one, as its sibling, and the chat goes on from there: nothing
        is deleted, `select_branch` leads back. A turn under way is ended first, and what waits in the queue
        is dropped. Cancelling this call, and its timeout, interrupt the new turn; a lost connection does
        not: the call goes on over the next one.
        """
        return await self.stream_edit(message_id, content, model=model).finish(timeout)

    def stream_edit(self, message_id: int, content: "Content", *, model: str | None = None) -> TurnStream:
        """Edit, and return the events of the turn that answers, for `async for`; see `edit`, TurnStream."""
        return self._rerun("chat/editMessage", self._edited(message_id, content, model))

    async def send_edit(
        self, message_id: int, content: "Content", *, model: str | None = None, timeout: float | None = None
    ) -> Sent:
        """Edit, and return once the new message is on disk; its turn goes on by itself. See `edit`."""
        params = self._edited(message_id, content, model)
        return Sent(await self._link.call("chat/editMessage", params, timeout), None)

    async def retry(
        self,
        message_id: int | None = None,
        *,
        model: str | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        timeout: float | None = None,
    ) -> Answer:
        """Answer a user message again (the last one by default), and return what that turn came to.

        The new answer stands beside the one that the message had. A turn under way is ended first; the queue
        goes on afterwards. Cancelling, timeouts and lost connections are as with `edit`.
        """
        return await self.stream_retry(message_id, model=model, settings=settings).finish(timeout)

    def stream_retry(
        self,
        message_id: int | None = None,
        *,
        model: str | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
    ) -> TurnStream:
        """Try again, and return the events of the new turn, for `async for`; see `retry`, TurnStream."""
        return self._rerun("chat/retry", self._again(message_id, model, settings))

    async def send_retry(
        self,
        message_id: int | None = None,
        *,
        model: str | None = None,
        settings: "ModelSettings | Mapping[str, Any] | None" = None,
        timeout: float | None = None,
    ) -> Sent:
        """Try again, and return once the new turn is on disk; it goes on by itself. See `retry`."""
        params = self._again(message_id, model, settings)
        return Sent(await self._link.call("chat/retry", params, timeout), None)

    async def interrupt(self, *, timeout: float | None = None) -> ChatRecord:
        """Stop the turn under way, if there is one; what there is of its answer is kept."""
        return await self._change("chat/interrupt", {}, timeout)

    async def compact(self, *, timeout: float | None = None) -> "Result[Message]":
        """Let the model summarise the history for later requests, and return the message that says it.

        What is shown of the chat stays whole.
        """
        return Result("chat/compact", await self._link.call("chat/compact", {"chatId": self.id}, timeout))

    # ---------------------------------------------------------------------- inside

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

    def _edited(self, message_id: int, content: Any, model: str | None) -> Json:
        params = {"chatId": self.id, "messageId": message_id, "content": as_json(content)}
        return params if model is None else {**params, "model": model}

    def _again(self, message_id: int | None, model: str | None, settings: Any) -> Json:
        return given(chatId=self.id, messageId=message_id, model=model, settings=settings)

    def _rerun(self, method: str, params: Json) -> TurnStream:
        return TurnStream(self._link, Rerun(self._link, method, params))

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
