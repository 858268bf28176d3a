"""Commands of a model in a real daemon: allowed, run, interrupted, killed."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from anyio import to_thread

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.sandbox.marked import wait_for_processes

pytestmark = pytest.mark.slow


def call(command: str, **more: Any) -> list[dict[str, Any]]:
    """Return a message by which the demo model calls `run`."""
    return [{"type": "text", "text": f"/tool run {json.dumps({'command': command, **more})}"}]


async def new_agent_chat(peer: Peer, root: Path) -> str:
    return await peer.new_chat(
        settings={"agent": {"mode": "auto"}}, context={"repositories": [root.as_uri()]}
    )


async def send_allowed(peer: Peer, chat: str, content: list[dict[str, Any]]) -> None:
    """Send a message, and allow its call if the daemon asks, which it does where no sandbox holds."""
    start = len(peer.trace)
    await peer.result("chat/send", {"chatId": chat, "content": content})

    def has_come(message: dict[str, Any]) -> bool:
        value = message.get("params", {}).get("value", {})
        return value.get("type") in ("action_required", "tool_started")

    event = (await peer.find(has_come, start=start))["params"]["value"]
    if event["type"] == "action_required":
        request = event["request"]
        answer = {"requestId": request["id"], "decision": "allow", "argsHash": request["argsHash"]}
        await peer.result("chat/respond", {"chatId": chat, **answer})


def results(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return outcome and text of each result of a tool."""
    parts = [part for message in messages if message["role"] == "tool" for part in message["content"]]
    return [(part["outcome"], part["result"]) for part in parts]


async def test_an_allowed_command_runs_in_the_sandbox_that_the_status_names(tmp_path: Path) -> None:
    async with running_daemon() as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        sandbox = (await peer.result("server/status"))["sandbox"]
        chat = await new_agent_chat(peer, tmp_path)
        await peer.subscribe(chat)
        await send_allowed(peer, chat, call("echo made > made; cat made"))
        started = await peer.event("s", "tool_started")
        assert (started["toolName"], started["sandbox"]) == ("run", sandbox["kind"])
        await peer.event("s", "turn_ended")
        messages = (await peer.result("chat/get", {"chatId": chat}))["messages"]
        assert results(messages) == [("ok", "made\n[Exit status 0.]")]
        assert (tmp_path / "made").read_text("utf-8") == "made\n"


@pytest.mark.parametrize("how", ["interrupt", "delete", "kill", "stop"])
async def test_no_process_of_a_command_outlives_what_ends_it(how: str, tmp_path: Path) -> None:
    mark = f"mark-{uuid4()}"
    idle = f"python3 -c 'import time; time.sleep(600)' {mark}"
    async with running_daemon() as daemon:
        async with unix_peer(daemon.socket, check=how != "kill") as peer:
            await peer.initialize()
            chat = await new_agent_chat(peer, tmp_path)
            await peer.subscribe(chat)
            jobs = call(idle, background=True)
            await send_allowed(peer, chat, jobs)
            await peer.event("s", "turn_ended")
            command = f"setsid {idle} & trap '' TERM; {idle}"
            await send_allowed(peer, chat, call(command))
            await to_thread.run_sync(wait_for_processes, mark, 3)
            if how == "interrupt":
                await peer.result("chat/interrupt", {"chatId": chat})
                await to_thread.run_sync(wait_for_processes, mark, 1)  # the job goes on
            if how in ("interrupt", "delete"):
                await peer.result("chat/delete", {"chatIds": [chat]})
            elif how == "kill":
                await daemon.kill()
        if how == "stop":
            await daemon.stop()
        await to_thread.run_sync(wait_for_processes, mark, 0)
        if how == "kill":
            await daemon.start()
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                messages = (await peer.result("chat/get", {"chatId": chat}))["messages"]
                assert [outcome for outcome, _ in results(messages)] == ["ok", "interrupted"]


async def test_where_a_demanded_sandbox_is_missing_chats_with_tools_are_refused(tmp_path: Path) -> None:
    config = '[sandbox]\nkind = "none"\nrequired = true\n'
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat = await new_agent_chat(peer, tmp_path)
        error = await peer.error("chat/send", {"chatId": chat, "content": call("true")})
        assert error["code"] == 1016
        new = {"settings": {"agent": {"mode": "plan"}}, "content": "Look."}
        assert (await peer.error("chat/create", new))["code"] == 1016
        assert (await peer.result("chat/list", {}))["total"] == 1
        plain = await peer.new_chat()
        await peer.result("chat/send", {"chatId": plain, "content": [{"type": "text", "text": "hi"}]})


async def test_a_daemon_that_nobody_uses_waits_for_its_jobs(tmp_path: Path) -> None:
    mark = f"mark-{uuid4()}"
    waits = ["sh", "-c", 'exec "$@" --idle-exit 3', "sh"]
    async with running_daemon(prefix=waits) as daemon:
        socket = daemon.socket
        async with unix_peer(socket) as peer:
            await peer.initialize()
            chat = await new_agent_chat(peer, tmp_path)
            await peer.subscribe(chat)
            command = f"python3 -c 'import time; time.sleep(5)' {mark}; echo {mark} > ended"
            await send_allowed(peer, chat, call(command, background=True))
            await to_thread.run_sync(wait_for_processes, mark, 1)
            await peer.event("s", "turn_ended")
        await to_thread.run_sync(wait_for_processes, mark, 0)
        with anyio.fail_after(30):
            while Path(socket).exists():  # noqa: ASYNC110 - another process removes it
                await anyio.sleep(0.05)
        assert (tmp_path / "ended").read_text("utf-8") == f"{mark}\n"  # it was not cut off
