"""chat/subscribe, unsubscribe, watch, unwatch."""

from typing import Any

from parley_daemon.server import convert
from parley_daemon.server.call import Call
from parley_daemon.server.errors import invalid_params
from parley_protocol.chats import (
    ChatSubscribeParams,
    ChatUnsubscribeParams,
    ChatUnwatchParams,
    ChatWatchParams,
)


async def subscribe(call: Call, params: ChatSubscribeParams) -> Any:
    """Answer with the snapshot or the resumption, then let the events go."""
    token, streams = params.partial_result_token, call.connection.streams
    if streams.asked_for(token):
        raise invalid_params([{"path": "partialResultToken", "problem": "is in use by chat/ask"}])
    stream, attachment = await streams.subscribe(
        token, params.chat_id, after_seq=params.after_seq, tail=params.tail
    )
    snapshot = attachment.snapshot
    call.reply(
        {
            "resumed": snapshot is None,
            "seq": attachment.seq,
            "snapshot": None if snapshot is None else convert.snapshot(snapshot),
        }
    )
    stream.release(attachment.missed)


async def unsubscribe(call: Call, params: ChatUnsubscribeParams) -> None:
    """End the subscription; ending one that is not there is fine."""
    call.connection.streams.unsubscribe(params.partial_result_token)


async def watch(call: Call, params: ChatWatchParams) -> None:
    """Answer, then tell of every chat."""
    call.reply(None)
    call.connection.streams.watch(params.partial_result_token)


async def unwatch(call: Call, params: ChatUnwatchParams) -> None:
    """End the watch; ending one that is not there is fine."""
    call.connection.streams.unwatch(params.partial_result_token)
