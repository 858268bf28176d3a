"""Answers that fit a schema, from the request to the value, over the real daemon and its Python client."""

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_clients import connect
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import done, finish, text
from tests.support.providers.server import fake_provider

INVALID_PARAMS = -32602
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WRONG = {"type": "object", "properties": {"age": {"type": "number of years"}}}


async def asked(peer: Peer, chat_id: str, **params: Any) -> Any:
    return await peer.result("chat/ask", {"chatId": chat_id, "content": "Who?", **params})


async def test_the_demo_answers_with_a_value_that_fits_and_every_subscriber_gets_its_text(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(settings={"outputSchema": PERSON})
        await peer.subscribe(chat_id)
        answer = await asked(peer, chat_id)
        assert answer["output"] == {"name": "demo", "age": 18}
        assert (await asked(peer, chat_id, content="/fast /tokens 3"))["error"]["kind"] == "bad_stream"
        assert (await peer.event("s", "turn_ended"))["output"] == {"name": "demo", "age": 18}
        failed = await peer.event("s", "turn_ended", lambda one: one["outcome"] == "failed")
        assert failed["output"] is None
        array = {"outputSchema": {"type": "array", "items": {"const": 1}}}
        assert (await asked(peer, chat_id, settings=array))["output"] == [1]
        chat_id = await peer.new_chat()
        assert (await asked(peer, chat_id, content="/fast Hi"))["output"] is None


@pytest.mark.parametrize("method", ["chat/create", "chat/update", "chat/send", "chat/ask", "chat/retry"])
async def test_a_schema_that_is_none_is_refused_where_it_is_given_and_nothing_happens(
    shared_daemon: DaemonProcess, method: str
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(messages=[{"role": "user", "content": "Who?"}])
        before = await peer.result("chat/get", {"chatId": chat_id})
        params: dict[str, Any] = {"chatId": chat_id, "settings": {"outputSchema": WRONG}}
        if method == "chat/create":
            del params["chatId"]
        elif method in ("chat/send", "chat/ask"):
            params["content"] = "Hi"
        error = await peer.error(method, params)
        problem = (
            'must be "array", "boolean", "integer", "null", "number", "object" or "string", '
            'or a list of these, not "number of years"'
        )
        path = "settings.outputSchema.properties.age.type"
        assert error["code"] == INVALID_PARAMS
        assert error["data"]["fields"] == [{"path": path, "problem": problem}]
        assert await peer.result("chat/get", {"chatId": chat_id}) == before


@pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and pidfd")
@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
async def test_the_process_that_checks_ends_with_its_daemon(daemon: DaemonProcess, kill: bool) -> None:
    async with unix_peer(daemon.socket, check=False) as peer:
        await peer.initialize()
        await peer.new_chat(settings={"outputSchema": PERSON})
        (child,) = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
        descriptor = os.pidfd_open(int(child))
        await (daemon.kill() if kill else daemon.stop())
    with anyio.fail_after(30):
        await anyio.wait_readable(descriptor)  # once it has ended
    os.close(descriptor)


async def test_a_provider_gets_the_schema_and_what_it_answers_is_checked() -> None:
    fenced = (text("Sure!\n```json\n", '{"name": "Ada", "age": 36}\n', "```"), finish(), done())
    young = (text('{"name": "Ada", "age": 6}'), finish(), done())
    short = (text('{"name": "Ad'), finish("length"), done())
    async with fake_provider(fenced, young, short, fenced) as provider:
        config = f"""
            default_model = "fake:any"
            titles.enabled = false
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon:
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                chat_id = await peer.new_chat(settings={"outputSchema": PERSON})
                assert (await asked(peer, chat_id))["output"] == {"name": "Ada", "age": 36}
                assert provider.requests[0].json["response_format"]["json_schema"]["schema"] == PERSON
                failed = await asked(peer, chat_id)
                assert (failed["outcome"], failed["output"]) == ("failed", None)
                assert failed["error"]["message"] == (
                    "The answer does not fit the output schema: age must be ≥ 18."
                )
                assert failed["error"]["retryable"]
                assert failed["messages"][0]["complete"]
                assert "maxOutputTokens" in (await asked(peer, chat_id))["error"]["message"]
            async with connect(f"unix:{daemon.socket}") as client:
                answer = await client.chat(chat_id).ask("Who?")
                assert answer.output == answer.model.output == {"name": "Ada", "age": 36}
        assert len(provider.requests) == 4
