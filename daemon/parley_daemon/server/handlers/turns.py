"""The methods of turns: chat/send, ask, interrupt, compact, of branches, and of the queue."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from parley_daemon.core.records import QueuedMessage
from parley_daemon.engine.chats.acceptance import Accepted, Draft, TurnDone
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.errors import ConflictError, EngineError
from parley_daemon.ports.catalogue import ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.server.app import OWNER
from parley_daemon.server.call import Call
from parley_daemon.server.files.references import input_parts
from parley_daemon.server.streaming.work_done import WorkDone
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_daemon.server.wire.settings import checked_settings
from parley_protocol.errors import ErrorCode
from parley_protocol.models.turns import (
    ChatAskParams,
    ChatCompactParams,
    ChatEditMessageParams,
    ChatInterruptParams,
    ChatQueuePromoteParams,
    ChatQueueRemoveParams,
    ChatQueueUpdateParams,
    ChatRetryParams,
    ChatRewindParams,
    ChatSelectBranchParams,
    ChatSendParams,
)


async def send(call: Call, params: ChatSendParams) -> None:
    """Answer once the message is on disk; its turn's events follow."""

    def accepted(what: Accepted) -> None:
        call.reply(_acceptance(what))

    await _submit(call, params, accepted)


def _acceptance(what: Accepted) -> Any:
    """Return what a client is told of a message that was taken."""
    return {
        "disposition": what.disposition,
        "turnId": what.turn_id,
        "message": None if what.message is None else records.message(what.message),
        "queuedMessage": None if what.queued is None else records.queued(what.queued),
    }


async def _submit(
    call: Call, params: ChatSendParams | ChatAskParams, accepted: Callable[[Accepted], None]
) -> None:
    """Let the engine take the message. What it took before is answered as before, also if refused by now."""
    engine = call.connection.app.engine
    try:
        draft = await _draft(call, params)
        await engine.send(params.chat_id, OWNER, draft, params.when_busy, accepted)
    except (EngineError, WireError, UnknownModelError, ProviderUnavailableError):
        first = await engine.sent_before(params.chat_id, OWNER, params.client_message_id)
        if first is None:
            raise
        accepted(first)


async def _draft(call: Call, params: ChatSendParams | ChatAskParams) -> Draft:
    return Draft(
        await input_parts(call.connection, params.content),
        params.model,
        await checked_settings(params.settings, call.connection.app.engine.schemas),
        params.client_message_id,
        call.connection.origin,
    )


async def ask(call: Call, params: ChatAskParams) -> Any:
    """Answer once the turn has ended, streaming it under the token if there is one."""
    asking = _Asking(call, params)
    asking.reserve()
    try:
        with asking.before_acceptance:
            await _submit(call, params, asking.accepted)
        if not asking.turn_id:
            raise WireError(ErrorCode.REQUEST_CANCELLED, "The request was cancelled before it was accepted.")
        call.allow_next()
        done = await asking.wait()
    except ConflictError:
        if call.cancelled:
            message = "The request was cancelled and its message taken back from the queue."
            raise WireError(ErrorCode.REQUEST_CANCELLED, message) from None
        raise
    finally:
        asking.close()
    if call.cancelled:
        message = "The request was cancelled and its turn interrupted; what had come of the answer is kept."
        raise WireError(ErrorCode.REQUEST_CANCELLED, message)
    messages = records.messages(done.messages)
    return {**records.turn_ended(done.ended), "messages": messages, "output": done.output}


class _Asking:
    """One chat/ask: its tokens, its progress for editors, and what cancelling it does."""

    def __init__(self, call: Call, params: ChatAskParams) -> None:
        self._call = call
        self._params = params
        self._work_done: WorkDone | None = None
        self.turn_id = ""
        self._own_turn_id: str | None = None  # of a message that steers another turn
        self._over = "taken back"
        self.before_acceptance = anyio.CancelScope()
        self._waiting = anyio.CancelScope()
        self._trouble: Exception | None = None

    def reserve(self) -> None:
        """Take the tokens, all or none; those in use are refused."""
        connection, params = self._call.connection, self._params
        token, work_done = params.partial_result_token, params.work_done_token
        if work_done is not None and work_done in connection.work_done_calls:
            raise invalid_params([{"path": "workDoneToken", "problem": "is in use by another request"}])
        if token is not None and not connection.streams.reserve(token):
            raise invalid_params([{"path": "partialResultToken", "problem": "is in use by another stream"}])
        if work_done is not None:
            connection.work_done_calls[work_done] = self._call
        self._call.on_cancel = self._cancel

    def accepted(self, what: Accepted) -> None:
        """The message is durable and nothing of its turn has gone out yet: listen from here on."""
        connection, params = self._call.connection, self._params
        self.turn_id = what.turn_id
        if what.disposition == "steered" and what.queued is not None:
            self._own_turn_id = what.queued.turn_id
        turn_ids = frozenset(filter(None, (self.turn_id, self._own_turn_id)))
        if self._call.cancelled:  # while the message was being committed
            self._cancel()
        if params.partial_result_token is not None:
            connection.streams.listen(params.partial_result_token, params.chat_id, what.turn_id, turn_ids)
        if params.work_done_token is not None:
            self._work_done = WorkDone(connection.outbox, params.work_done_token, turn_ids)
            connection.app.engine.listen(params.chat_id, self._work_done)

    async def wait(self) -> TurnDone:
        """Wait for the turn's end. What keeps a cancellation from being carried out is raised."""
        done: TurnDone | None = None
        with self._waiting:
            engine = self._call.connection.app.engine
            done = await engine.wait(self._params.chat_id, OWNER, self.turn_id, self._own_turn_id)
        if done is None:
            assert self._trouble is not None
            raise self._trouble
        self.turn_id, self._over = done.ended.turn_id, done.ended.outcome
        return done

    def close(self) -> None:
        """Listen no more, and give the tokens back."""
        connection, params = self._call.connection, self._params
        self._call.on_cancel = None  # else the two keep each other, and a large message, in memory
        if params.partial_result_token is not None:
            connection.streams.release(params.partial_result_token, self.turn_id)
        if self._work_done is not None:
            connection.app.engine.detach(params.chat_id, self._work_done)
            self._work_done.end(self._over)
        if params.work_done_token is not None:
            connection.work_done_calls.pop(params.work_done_token, None)

    def _cancel(self) -> None:
        """Cancelling the request, or its progress, interrupts the turn; the answer waits for its end.

        A message that still waits is taken back, and what it waits for goes on.
        """
        if self.turn_id:
            self._call.connection.start(self._stop_turn)
        else:
            self.before_acceptance.cancel()

    async def _stop_turn(self) -> None:
        engine = self._call.connection.app.engine
        try:
            await engine.take_back(self._params.chat_id, OWNER, self.turn_id, self._own_turn_id)
        except (EngineError, StoreUnavailableError) as error:
            self._trouble = error
            self._waiting.cancel()


async def compact(call: Call, params: ChatCompactParams) -> Any:
    """Summarise the history for later requests; cancelling the request stops it."""
    return records.message(await call.connection.app.engine.compact(params.chat_id, OWNER))


async def interrupt(call: Call, params: ChatInterruptParams) -> Any:
    """Stop the turn; the answer comes at once, its end as an event."""
    return records.chat(await call.connection.app.engine.interrupt(params.chat_id, OWNER))


async def retry(call: Call, params: ChatRetryParams) -> None:
    """Answer once the new turn is on disk; its events follow."""

    def accepted(what: Accepted) -> None:
        call.reply(_acceptance(what))

    engine = call.connection.app.engine
    settings = await checked_settings(params.settings, engine.schemas)
    await engine.retry(params.chat_id, OWNER, params.message_id, params.model, settings, accepted)


async def edit_message(call: Call, params: ChatEditMessageParams) -> None:
    """Answer once the new message is on disk; its turn's events follow."""

    def accepted(what: Accepted) -> None:
        call.reply(_acceptance(what))

    content = await input_parts(call.connection, params.content)
    draft = Draft(content, params.model, origin=call.connection.origin)
    await call.connection.app.engine.edit(params.chat_id, OWNER, params.message_id, draft, accepted)


async def rewind(call: Call, params: ChatRewindParams) -> Any:
    """Let the active branch end at the message."""
    return await _select(call, params, newest_leaf=False)


async def select_branch(call: Call, params: ChatSelectBranchParams) -> Any:
    """Let the active branch run through the message to its newest leaf."""
    return await _select(call, params, newest_leaf=True)


async def _select(call: Call, params: ChatRewindParams | ChatSelectBranchParams, *, newest_leaf: bool) -> Any:
    engine = call.connection.app.engine
    view = await engine.select(params.chat_id, OWNER, params.message_id, newest_leaf=newest_leaf)
    return records.chat(view)


async def update_queued(call: Call, params: ChatQueueUpdateParams) -> Any:
    """Let a waiting message say something else."""
    content = await input_parts(call.connection, params.content)
    return await _change_queue(
        call, params.chat_id, lambda chat: chat.rewrite(params.queued_message_id, content)
    )


async def remove_queued(call: Call, params: ChatQueueRemoveParams) -> Any:
    """Take a waiting message out."""
    return await _change_queue(call, params.chat_id, lambda chat: chat.withdraw(params.queued_message_id))


async def promote_queued(call: Call, params: ChatQueuePromoteParams) -> Any:
    """Run a waiting message next."""
    return await _change_queue(call, params.chat_id, lambda chat: chat.promote(params.queued_message_id))


async def _change_queue(
    call: Call, chat_id: str, change: Callable[[ChatActor], Awaitable[tuple[QueuedMessage, ...]]]
) -> Any:
    queue = await call.connection.app.engine.change_queue(chat_id, OWNER, change)
    return {"queuedMessages": [records.queued(one) for one in queue]}
