"""Leaving: what was put for a client goes out first, and nobody waits for longer than that takes."""

import json
import time

import anyio

from parley_clients import connect
from parley_daemon.server.streaming.outbox import Outbox
from parley_protocol.framing import encode_frame
from tests.server.streaming.test_streams import RecordingTransport
from tests.support.processes.daemon import DaemonProcess

FRAME = encode_frame(json.dumps({"params": {"token": "t", "value": 1}}).encode())


async def test_everybody_who_waits_for_an_outbox_to_be_empty_is_told() -> None:
    channel = RecordingTransport()
    outbox = Outbox(channel, lambda: None)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.run)
            await anyio.wait_all_tasks_blocked()
            outbox.put(FRAME)
            await outbox.wait_until_empty()  # before the writer has got to what was put
            assert channel.values == [1]
            await outbox.wait_until_empty()
            tasks.cancel_scope.cancel()


async def test_a_client_that_leaves_with_its_last_request_gets_the_answer_and_the_end_at_once(
    shared_daemon: DaemonProcess,
) -> None:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat()
        await chat.ask("/fast /tokens 1")
        await chat.retry()  # it ends its subscription last, and waits for nothing
        left = time.monotonic()
    assert time.monotonic() - left < 1.5
