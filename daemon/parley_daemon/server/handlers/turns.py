"""chat/send, ask, interrupt."""

from typing import Any

from parley_protocol.errors import ErrorCode
from parley_protocol.turns import ChatAskParams, ChatInterruptParams, ChatSendParams

from parley_daemon.core.conversation import WhenBusy
from parley_daemon.core.parts import Part
from parley_daemon.engine.tickets import Accepted, Draft, TurnDone
from parley_daemon.server import convert
from parley_daemon.server.app import OWNER
from parley_daemon.server.connection import Call
from parley_daemon.server.errors import WireError, invalid_params
from parley_daemon.server.references import input_parts
from parley_daemon.server.streams import ChatStream, Progress


async def send(call: Call, params: ChatSendParams) -> None:
    """Answer once the message is on disk; its turn's events follow."""
    draft, when_busy = await _draft(call, params)

    def accepted(what: Accepted) -> None:
        call.reply(
            {
                "disposition": "queued" if what.queued else "started",
                "turnId": what.turn_id,
                "message": None if what.message is None else convert.message(what.message),
                "queuedMessage": None if what.queued is None else convert.queued(what.queued),
            }
        )

    await call.connection.app.engine.send(params.chat_id, OWNER, draft, when_busy, accepted)


async def _draft(call: Call, params: ChatSendParams | ChatAskParams) -> tuple[Draft, WhenBusy]:
    when_busy = params.when_busy
    if when_busy not in ("queue", "reject"):
        problem = f"this version does not serve {when_busy!r}; it takes 'queue' and 'reject'"
        raise invalid_params([{"path": "whenBusy", "problem": problem}])
    content: tuple[Part, ...] = await input_parts(call.connection, params.content)
    draft = Draft(
        content,
        params.model,
        convert.core_settings(params.settings),
        params.client_message_id,
        call.connection.origin,
    )
    return draft, when_busy


async def ask(call: Call, params: ChatAskParams) -> Any:
    """Answer once the turn has ended, streaming it under the token if there is one."""
    asking = _Asking(call, params)
    draft, when_busy = await _draft(call, params)
    asking.check_tokens()
    engine = call.connection.app.engine
    try:
        await engine.send(params.chat_id, OWNER, draft, when_busy, asking.accepted)
        call.admitted.set()
        done = await engine.wait(params.chat_id, OWNER, asking.turn_id)
        asking.report_end(done)
    finally:
        asking.close()
    if call.cancelled:
        message = "The request was cancelled and its turn interrupted; what had come of the answer is kept."
        raise WireError(ErrorCode.REQUEST_CANCELLED, message)
    ended = convert.turn_ended(done.ended)
    return {**ended, "messages": convert.messages(done.messages)}


class _Asking:
    """One chat/ask: its stream, its progress for editors, and what cancelling it does."""

    def __init__(self, call: Call, params: ChatAskParams) -> None:
        self._call = call
        self._params = params
        self._stream: ChatStream | None = None
        self.turn_id = ""

    def check_tokens(self) -> None:
        """Refuse tokens that are in use."""
        connection, params = self._call.connection, self._params
        if params.partial_result_token is not None and params.partial_result_token in connection.chat_streams:
            raise invalid_params([{"path": "partialResultToken", "problem": "is in use by another stream"}])
        if params.work_done_token is not None and params.work_done_token in connection.asks:
            raise invalid_params([{"path": "workDoneToken", "problem": "is in use by another request"}])

    def accepted(self, what: Accepted) -> None:
        """The message is durable and nothing of its turn has gone out yet: listen from here on."""
        connection, params = self._call.connection, self._params
        self.turn_id = what.turn_id
        self._call.on_cancel = self._interrupt
        if params.partial_result_token is not None:
            token = params.partial_result_token
            self._stream = connection.open_stream(token, params.chat_id, turn_id=what.turn_id)
            self._stream.release()
            connection.app.engine.listen(params.chat_id, self._stream)
        if params.work_done_token is not None:
            connection.asks[params.work_done_token] = self._call
            self._work_done({"kind": "begin", "title": "Answering", "cancellable": True})

    def report_end(self, done: TurnDone) -> None:
        """Close the editor's progress display."""
        if self._params.work_done_token is not None:
            self._work_done({"kind": "end", "message": done.ended.outcome})

    def close(self) -> None:
        """Listen no more."""
        connection, params = self._call.connection, self._params
        if self._stream is not None:
            connection.close_stream(self._stream.token)
        if params.work_done_token is not None:
            connection.asks.pop(params.work_done_token, None)

    def _interrupt(self) -> None:
        """Cancelling the request, or its progress, interrupts the turn; the answer waits for its end."""
        self._call.connection.start(self._stop_turn)

    async def _stop_turn(self) -> None:
        engine = self._call.connection.app.engine
        await engine.interrupt(self._params.chat_id, OWNER, self.turn_id)

    def _work_done(self, value: dict[str, Any]) -> None:
        assert self._params.work_done_token is not None
        progress = Progress(self._call.connection.outbox, self._params.work_done_token)
        progress.put(convert.encode(value))


async def interrupt(call: Call, params: ChatInterruptParams) -> Any:
    """Stop the turn; the answer comes at once, its end as an event."""
    return convert.chat(await call.connection.app.engine.interrupt(params.chat_id, OWNER))
