"""chat/subscribe, unsubscribe, watch, unwatch."""

from typing import Any

from parley_daemon.server import convert
from parley_daemon.server.app import OWNER
from parley_daemon.server.call import Call
from parley_daemon.server.streams import WatchStream
from parley_protocol.chats import (
    ChatSubscribeParams,
    ChatUnsubscribeParams,
    ChatUnwatchParams,
    ChatWatchParams,
)


async def subscribe(call: Call, params: ChatSubscribeParams) -> Any:
    """Answer with the snapshot or the resumption, then let the events go."""
    connection = call.connection
    token = params.partial_result_token
    stream = connection.open_stream(token, params.chat_id, tail=params.tail)
    try:
        attachment = await connection.app.engine.attach(
            params.chat_id, OWNER, stream, after_seq=params.after_seq, tail=params.tail
        )
    except BaseException:
        if connection.chat_streams.get(token) is stream:
            connection.close_stream(token)
        raise
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
    call.connection.close_stream(params.partial_result_token)


async def watch(call: Call, params: ChatWatchParams) -> None:
    """Answer, then tell of every chat."""
    connection = call.connection
    token = params.partial_result_token
    _stop_watch(call, token)
    call.reply(None)
    connection.watches[token] = stream = WatchStream(connection.outbox, token)
    connection.app.engine.watch(OWNER, stream)


async def unwatch(call: Call, params: ChatUnwatchParams) -> None:
    """End the watch; ending one that is not there is fine."""
    _stop_watch(call, params.partial_result_token)


def _stop_watch(call: Call, token: int | str) -> None:
    stream = call.connection.watches.pop(token, None)
    if stream is not None:
        call.connection.app.engine.unwatch(OWNER, stream)
