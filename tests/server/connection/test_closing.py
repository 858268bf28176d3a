"""Closing a connection: what was put for the client is sent first, and then the end comes at once."""

import json
import time

import anyio

from parley_clients import connect
from parley_daemon.server.streaming.outbox import Outbox
from parley_protocol.framing import encode_frame
from tests.server.streaming.test_streams import RecordingTransport
from tests.support.processes.daemon import DaemonProcess

FRAME = encode_frame(json.dumps({"params": {"token": "t", "value": 1}}).encode())


async def test_all_who_wait_for_an_empty_outbox_are_woken() -> None:
    transport = RecordingTransport()
    outbox = Outbox(transport, lambda: None)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.run)
            await anyio.wait_all_tasks_blocked()
            outbox.put(FRAME)
            await outbox.wait_until_empty()  # before the writer has got to what was put
            assert transport.values == [1]
            await outbox.wait_until_empty()
            tasks.cancel_scope.cancel()


async def test_a_client_that_closes_after_its_last_request_gets_the_response_and_the_end_at_once(
    shared_daemon: DaemonProcess,
) -> None:
    took: list[float] = []
    for _ in range(5):  # a busy machine may delay one of them; what waits for the limit of 2 s delays all
        async with connect(f"unix:{shared_daemon.socket}") as client:
            chat = await client.create_chat()
            await chat.ask("/fast /tokens 1")
            await chat.retry()  # it ends its subscription last, and waits for nothing
            left = time.monotonic()
        took.append(time.monotonic() - left)
        if took[-1] < 1.5:
            break
    assert min(took) < 1.5
