"""chat/subscribe, unsubscribe, watch, unwatch."""

from typing import Any

from parley_daemon.server.call import Call
from parley_daemon.server.wire import records
from parley_daemon.server.wire.errors import invalid_params
from parley_protocol.models.chats import (
    ChatSubscribeParams,
    ChatUnsubscribeParams,
    ChatUnwatchParams,
    ChatWatchParams,
)


async def subscribe(call: Call, params: ChatSubscribeParams) -> Any:
    """Respond with a snapshot, or that the stream resumes; then send the events."""
    token, streams = params.partial_result_token, call.connection.streams
    _refuse_used(call, token)
    stream, attachment = await streams.subscribe(
        token, params.chat_id, after_seq=params.after_seq, tail=params.tail
    )
    snapshot = attachment.snapshot
    call.reply(
        {
            "resumed": snapshot is None,
            "seq": attachment.seq,
            "snapshot": None if snapshot is None else records.snapshot(snapshot),
        }
    )
    stream.release(attachment.missed)


async def unsubscribe(call: Call, params: ChatUnsubscribeParams) -> None:
    """End the subscription, if there is one."""
    call.connection.streams.unsubscribe(params.partial_result_token)


async def watch(call: Call, params: ChatWatchParams) -> None:
    """Respond, then send changes of every chat."""
    _refuse_used(call, params.partial_result_token)
    call.reply(None)
    call.connection.streams.watch(params.partial_result_token)


async def unwatch(call: Call, params: ChatUnwatchParams) -> None:
    """End the watch, if there is one."""
    call.connection.streams.unwatch(params.partial_result_token)


def _refuse_used(call: Call, token: int | str) -> None:
    """Refuse a token of a stream of another method. A stream of the same method is replaced."""
    user = call.connection.streams.method_using(token)
    if user not in (None, call.method):
        raise invalid_params([{"path": "partialResultToken", "problem": f"is in use by {user}"}])
