"""The methods of turns: chat/send, ask, interrupt, compact, of branches, and of the queue."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from parley_daemon.core.parts import Source
from parley_daemon.core.records import QueuedMessage
from parley_daemon.engine.chats.acceptance import Acceptance, Draft, TurnDone
from parley_daemon.engine.chats.actor import ChatActor
from parley_daemon.engine.errors import ConflictError, EngineError
from parley_daemon.ports.catalogue import ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.server.call import Call
from parley_daemon.server.files.references import input_parts
from parley_daemon.server.files.server_content import ChatContents
from parley_daemon.server.streaming.work_done import WorkDoneProgress
from parley_daemon.server.wire import excerpts, records
from parley_daemon.server.wire.configuration import check_settings
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_protocol.errors import ErrorCode
from parley_protocol.models.turns import (
    ChatAskParams,
    ChatCompactParams,
    ChatEditMessageParams,
    ChatInterruptParams,
    ChatQueuePromoteParams,
    ChatQueueRemoveParams,
    ChatQueueUpdateParams,
    ChatRespondParams,
    ChatRetryParams,
    ChatRewindParams,
    ChatSelectBranchParams,
    ChatSendParams,
)


async def send(call: Call, params: ChatSendParams) -> None:
    """Respond when the message is on disk. The events of its turn follow."""

    def on_accepted(accepted: Acceptance) -> None:
        call.reply(_acceptance(accepted))

    async with call.connection.chats.open(params.chat_id) as chat:
        await _send(call, params, chat, on_accepted)


def _acceptance(accepted: Acceptance) -> Any:
    """Return what happened to an accepted message, as a wire object."""
    return {
        "disposition": accepted.disposition,
        "turnId": accepted.turn_id,
        "message": None if accepted.message is None else records.message(accepted.message),
        "queuedMessage": None if accepted.queued is None else records.queued_message(accepted.queued),
    }


async def _send(
    call: Call,
    params: ChatSendParams | ChatAskParams,
    chat: ChatActor,
    on_accepted: Callable[[Acceptance], None],
) -> None:
    """Send a message. If it was accepted before, return the earlier answer, even if it is refused now."""
    try:
        await chat.send(await _draft(call, params, chat), params.when_busy, on_accepted)
    except (EngineError, WireError, UnknownModelError, ProviderUnavailableError):
        earlier = await chat.find_sent(params.client_message_id)
        if earlier is None:
            raise
        on_accepted(earlier)


async def _draft(call: Call, params: ChatSendParams | ChatAskParams, chat: ChatActor) -> Draft:
    return Draft(
        await input_parts(call.connection, params.content, _contents(call, chat)),
        params.model,
        await check_settings(params.settings, call.connection.app.engine),
        params.client_message_id,
        call.connection.origin,
    )


def _contents(call: Call, chat: ChatActor) -> ChatContents:
    return ChatContents(call.connection.app.engine, chat.view.chat)


async def ask(call: Call, params: ChatAskParams) -> Any:
    """Respond when the turn has ended. Its events are streamed if there is a token."""
    asking = _Ask(call, params)
    asking.reserve_tokens()
    try:
        async with call.connection.chats.open(params.chat_id) as chat:
            done = await asking.run(chat)
            sources = await chat.sources_of(done.ended.turn_id) if asking.has_sources else ()
    except ConflictError:
        if call.cancelled:
            message = "The request was cancelled, and its message was removed from the queue."
            raise WireError(ErrorCode.REQUEST_CANCELLED, message) from None
        raise
    finally:
        asking.close()
    if call.cancelled:
        message = "The request was cancelled, and its turn was interrupted. The partial answer is kept."
        raise WireError(ErrorCode.REQUEST_CANCELLED, message)
    return {
        **records.turn_ended(done.ended),
        "messages": records.messages(done.messages),
        "sources": excerpts.fit_parts(sources, excerpts.PAGE_BYTES, excerpts.PAGE_BYTES),
    }


class _Ask:
    """One chat/ask: its tokens, its progress for editors, and its cancellation.

    Cancelling the request, or its progress, interrupts the turn, and the response waits for the turn's end. A
    message that is still queued is removed from the queue, and the turn that it waits for continues.
    """

    def __init__(self, call: Call, params: ChatAskParams) -> None:
        self._call = call
        self._params = params
        self._chat: ChatActor | None = None
        self._work_done: WorkDoneProgress | None = None
        self._turn_id = ""
        self.has_sources = False
        self._own_turn_id: str | None = None  # of a message that steers another turn
        self._outcome = "removed from the queue"
        self._before_acceptance = anyio.CancelScope()
        self._waiting = anyio.CancelScope()
        self._cancel_failure: Exception | None = None

    def reserve_tokens(self) -> None:
        """Reserve both tokens or none.

        Raises:
            WireError: a token is in use.
        """
        connection, params = self._call.connection, self._params
        token, work_done = params.partial_result_token, params.work_done_token
        if work_done is not None and work_done in connection.work_done_calls:
            raise invalid_params([{"path": "workDoneToken", "problem": "is in use by another request"}])
        if token is not None and not connection.streams.reserve(token):
            raise invalid_params([{"path": "partialResultToken", "problem": "is in use by another stream"}])
        if work_done is not None:
            connection.work_done_calls[work_done] = self._call
        self._call.on_cancel = self._cancel

    async def run(self, chat: ChatActor) -> TurnDone:
        """Send the message and wait for the end of its turn."""
        self._chat = chat
        with self._before_acceptance:
            await _send(self._call, self._params, chat, self._on_accepted)
        if not self._turn_id:
            raise WireError(ErrorCode.REQUEST_CANCELLED, "The request was cancelled before it was accepted.")
        self._call.allow_next()
        done: TurnDone | None = None
        with self._waiting:
            done = await chat.wait_for_turn(self._turn_id, self._own_turn_id)
        if done is None:
            assert self._cancel_failure is not None
            raise self._cancel_failure
        self._turn_id, self._outcome = done.ended.turn_id, done.ended.outcome
        return done

    def _on_accepted(self, accepted: Acceptance) -> None:
        """Begin to listen. The message is stored, and no event of its turn has been sent yet."""
        assert self._chat is not None
        connection, params = self._call.connection, self._params
        self._turn_id = accepted.turn_id
        asked = accepted.message or accepted.queued
        self.has_sources = asked is not None and any(isinstance(part, Source) for part in asked.content)
        if accepted.disposition == "steered" and accepted.queued is not None:
            self._own_turn_id = accepted.queued.turn_id
        turn_ids = frozenset(filter(None, (self._turn_id, self._own_turn_id)))
        if self._call.cancelled:  # while the message was being committed
            self._cancel()
        if params.partial_result_token is not None:
            token, chat_id = params.partial_result_token, params.chat_id
            connection.streams.stream_turns(token, chat_id, accepted.turn_id, turn_ids)
        if params.work_done_token is not None:
            self._work_done = WorkDoneProgress(connection.outbox, params.work_done_token, turn_ids)
            self._chat.listeners.add(self._work_done)

    def close(self) -> None:
        """Stop listening, and release the tokens."""
        connection, params = self._call.connection, self._params
        self._call.on_cancel = None  # otherwise the two keep each other, and a large message, in memory
        if params.partial_result_token is not None:
            connection.streams.release(params.partial_result_token, self._turn_id)
        if self._work_done is not None:
            assert self._chat is not None
            self._chat.listeners.remove(self._work_done)
            self._work_done.end(self._outcome)
        if params.work_done_token is not None:
            connection.work_done_calls.pop(params.work_done_token, None)

    def _cancel(self) -> None:
        if self._turn_id:
            self._call.connection.start(self._cancel_turn)
        else:
            self._before_acceptance.cancel()

    async def _cancel_turn(self) -> None:
        try:
            async with self._call.connection.chats.open(self._params.chat_id) as chat:
                await chat.cancel_turn(self._turn_id, self._own_turn_id)
        except (EngineError, StoreUnavailableError) as error:
            self._cancel_failure = error
            self._waiting.cancel()


async def compact(call: Call, params: ChatCompactParams) -> Any:
    """Summarize the history for later requests. Cancelling the request stops the summary."""
    async with call.connection.chats.open(params.chat_id) as chat:
        return records.message(await chat.summaries.compact())


async def interrupt(call: Call, params: ChatInterruptParams) -> Any:
    """Stop the turn. The response comes at once; the turn's end follows as an event."""
    is_tree = params.scope == "tree"
    view = await call.connection.chats.interrupt(params.chat_id, tree=is_tree, background=params.children)
    return records.chat(view)


async def respond(call: Call, params: ChatRespondParams) -> Any:
    """Answer an open question of the turn. The response comes before the events that follow from it."""
    async with call.connection.chats.open_asking(params.chat_id, params.request_id) as chat:
        outcome = await chat.requests.respond(
            params.request_id,
            params.decision,
            params.result,
            args_hash=params.args_hash,
            by=call.connection.origin,
            client=call.connection.tool_client,
        )
        return {"outcome": outcome}


async def retry(call: Call, params: ChatRetryParams) -> None:
    """Respond when the new turn is on disk. Its events follow."""

    def on_accepted(accepted: Acceptance) -> None:
        call.reply(_acceptance(accepted))

    settings = await check_settings(params.settings, call.connection.app.engine)
    async with call.connection.chats.open(params.chat_id) as chat:
        await chat.branches.retry(params.message_id, params.model, settings, on_accepted)


async def edit_message(call: Call, params: ChatEditMessageParams) -> None:
    """Respond when the new message is on disk. The events of its turn follow."""

    def on_accepted(accepted: Acceptance) -> None:
        call.reply(_acceptance(accepted))

    async with call.connection.chats.open(params.chat_id) as chat:
        content = await input_parts(call.connection, params.content, _contents(call, chat))
        draft = Draft(content, params.model, origin=call.connection.origin)
        await chat.branches.edit_message(params.message_id, draft, on_accepted)


async def rewind(call: Call, params: ChatRewindParams) -> Any:
    """Make the active branch end at the message."""
    return await _select(call, params, newest_leaf=False)


async def select_branch(call: Call, params: ChatSelectBranchParams) -> Any:
    """Make the active branch run through the message to its newest leaf."""
    return await _select(call, params, newest_leaf=True)


async def _select(call: Call, params: ChatRewindParams | ChatSelectBranchParams, *, newest_leaf: bool) -> Any:
    async with call.connection.chats.open(params.chat_id) as chat:
        return records.chat(await chat.branches.select(params.message_id, newest_leaf=newest_leaf))


async def update_queued(call: Call, params: ChatQueueUpdateParams) -> Any:
    """Replace the content of a queued message."""
    async with call.connection.chats.open(params.chat_id) as chat:
        content = await input_parts(call.connection, params.content, _contents(call, chat))
        return _queue(await chat.queue.edit(params.queued_message_id, content))


async def remove_queued(call: Call, params: ChatQueueRemoveParams) -> Any:
    """Remove a queued message."""
    async with call.connection.chats.open(params.chat_id) as chat:
        return _queue(await chat.queue.remove(params.queued_message_id))


async def promote_queued(call: Call, params: ChatQueuePromoteParams) -> Any:
    """Run a queued message next."""
    async with call.connection.chats.open(params.chat_id) as chat:
        return _queue(await chat.queue.promote(params.queued_message_id))


def _queue(queue: Sequence[QueuedMessage]) -> Any:
    return {"queuedMessages": records.queue(queue)}
