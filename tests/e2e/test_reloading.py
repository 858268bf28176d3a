"""A daemon whose configuration is edited while it runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import done, finish, stall, text
from tests.support.providers.server import fake_provider

pytestmark = pytest.mark.slow

QUIET = "[titles]\nenabled = false\n"


def provider(name: str, origin: str = "http://127.0.0.1:9") -> str:
    return f'[providers.{name}]\ntype = "openai-compat"\nbase_url = "{origin}"\n'


def save(daemon: DaemonProcess, content: str) -> None:
    """Save as editors do: another file takes the old one's place."""
    beside = daemon.config_path.with_suffix(".tmp")
    beside.write_text(content, "utf-8")
    os.replace(beside, daemon.config_path)


async def until(peer: Peer, method: str, true: Callable[[Any], object]) -> Any:
    """Ask until the answer is as wished; return it."""
    with anyio.fail_after(30):
        while not true(result := await peer.result(method)):  # noqa: ASYNC110 - of another process
            await anyio.sleep(0.01)
    return result


def error_of(status: Any) -> Any:
    return status["configuration"]["error"]


async def test_rules_are_taken_over_and_a_broken_file_allows_nothing(tmp_path: Path) -> None:
    allow = '[[permissions]]\neffect = "allow"\ntool = "read_file"\npaths = ["/etc"]\n'
    deny = '[[permissions]]\neffect = "deny"\ntool = "write_file"\n'
    async with running_daemon(config=QUIET) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        context = {"repositories": [tmp_path.as_uri()]}
        chat_id = await peer.new_chat(context=context, settings={"agent": {"mode": "edits"}})

        async def decision(tool: str, **args: str) -> str:
            params = {"chatId": chat_id, "toolName": tool, "args": args}
            return (await peer.result("permission/explain", params))["decision"]

        async def decisions() -> tuple[str, str]:
            read = await decision("read_file", path="/etc/hosts")
            return read, await decision("write_file", path="new.txt", content="x")

        async def until_rules(count: int, complaint: str | None) -> None:
            def is_there(one: Any) -> bool:
                told = one["complaint"] or ""
                return (
                    len(one["rules"]) == count and (complaint or "") in told and bool(told) == bool(complaint)
                )

            await until(peer, "permission/list", is_there)

        assert await decisions() == ("ask", "allow")
        save(daemon, QUIET + allow + deny)
        await until_rules(2, None)
        assert await decisions() == ("allow", "deny")
        line = (QUIET + allow + deny).count("\n") + 1
        save(daemon, QUIET + allow + deny + "match = [1]\n")
        await until_rules(2, f"line {line}")  # what denies, and that everything else is asked about
        assert await decisions() == ("ask", "deny")
        save(daemon, QUIET + allow)
        await until_rules(1, None)
        assert await decisions() == ("allow", "allow")


async def test_what_is_saved_is_taken_over_and_what_breaks_is_told_until_it_is_mended() -> None:
    async with running_daemon(config=QUIET) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        status = await peer.result("server/status")
        assert status["configuration"] == {"path": str(daemon.config_path), "error": None}
        chat_id = await peer.new_chat()

        good = QUIET + provider("x") + '[models."x:m"]\n'
        save(daemon, good)
        listed = await until(peer, "provider/list", lambda one: "x" in str(one))
        assert listed["providers"][0]["source"] == "config"
        assert (await peer.result("modelConfig/list"))["modelConfigs"][0]["isDefault"]

        save(daemon, f"{good}\n[providers.y\n")
        line = good.count("\n") + 2
        status = await until(peer, "server/status", error_of)
        assert error_of(status).startswith(f"{daemon.config_path}, line {line}: ")
        assert (await peer.result("model/list"))["complaint"] == error_of(status)
        # What was there before is still there, and so is everything else.
        assert (await peer.result("provider/list"))["providers"][0]["provider"] == "x"
        assert (await peer.new_chat(model="x:m")) is not None
        told = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast Hi"})
        assert told["outcome"] == "completed"

        with daemon.config_path.open("r+", encoding="utf-8") as file:  # mended in place
            file.truncate(len(good))
        await until(peer, "server/status", lambda one: error_of(one) is None)
        assert (await peer.result("model/list"))["complaint"] is None

        daemon.config_path.unlink()
        listed = await until(peer, "provider/list", lambda one: one["providers"][0]["provider"] != "x")
        assert (await peer.error("chat/create", {"model": "x:m"}))["code"] == 1006
        log = (daemon.data_dir / "log" / "parleyd.log").read_text("utf-8")
        assert log.count("the configuration is broken, the last valid one stays in force") == 1


async def test_a_daemon_that_began_with_a_broken_file_recovers_when_it_is_mended() -> None:
    async with running_daemon(config="[providers.x\n") as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat()
        assert (await peer.error("chat/send", {"chatId": chat_id, "content": "Hi"}))["code"] == 1012
        save(daemon, "\n[providers.x\n")
        await until(peer, "server/status", lambda one: "line 2" in error_of(one))
        save(daemon, "")
        await until(peer, "server/status", lambda one: error_of(one) is None)
        told = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast Hi"})
        assert told["outcome"] == "completed"


async def test_a_running_turn_goes_on_with_what_it_began_with_and_the_next_one_asks_elsewhere() -> None:
    go_on = anyio.Event()
    old_answer = (text("The old "), stall(go_on), text("one."), finish(), done())
    async with (
        fake_provider(old_answer) as old,
        fake_provider((text("The new one."), finish(), done())) as new,
    ):
        place = running_daemon(config=QUIET + provider("x", old.origin))
        async with place as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat(model="x:m")
            ask = {"chatId": chat_id, "content": "Who are you?"}
            first = await peer.start("chat/ask", ask)
            await old.requested()
            save(daemon, QUIET + provider("x", new.origin))
            await until(peer, "provider/list", lambda one: one["providers"][0]["baseUrl"] == new.origin)
            go_on.set()
            told = (await peer.response(first))["result"]
            assert told["messages"][-1]["content"] == [{"type": "text", "text": "The old one."}]
            told = await peer.result("chat/ask", ask)
            assert told["messages"][-1]["content"] == [{"type": "text", "text": "The new one."}]
            with anyio.fail_after(30):
                await old.idle()  # its connection was closed behind its last turn


async def test_limits_and_retries_change_without_a_restart() -> None:
    async with running_daemon(config=QUIET + provider("x")) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(model="x:m")
        save(daemon, f"retries.attempts = 1\n{QUIET}{provider('x')}{provider('y')}")
        await until(peer, "provider/list", lambda one: '"y"' in str(one).replace("'", '"'))
        told = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
        assert (told["outcome"], told["timings"]["attempts"]) == ("failed", 1)
