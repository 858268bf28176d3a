"""Broken set-ups: the daemon answers all the same, and says what is wrong and where."""

import contextlib
import sqlite3
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.engine.protocol_samples import TURN_ID
from tests.support.processes.daemon import private_environment, running_daemon
from tests.support.processes.limited_disk import without_privileges
from tests.support.processes.raw_client import stdio_peer, unix_peer
from tests.support.providers.script import status
from tests.support.providers.server import fake_provider

pytestmark = pytest.mark.slow

CANARY = "sk-canary-0123456789abcdef"

BROKEN = {
    "a broken line": ('default_model = "x:y"\n[providers.x\n', 2),
    "a wrong type": ('[providers.x]\ntype = "openai-compat"\nbase_url = 3\n', 3),
    "an unknown key": ('[providers.x]\ntype = "openai-compat"\n\ncolour = "red"\n', 4),
    "a number that is no number": ('[limits]\nmax_running_turns = "many"\n', 2),
}


@pytest.mark.parametrize(("config", "line"), BROKEN.values(), ids=list(BROKEN))
async def test_a_broken_configuration_is_named_by_file_and_line_and_stops_nothing(
    config: str, line: int
) -> None:
    with private_environment(config=config) as places:
        async with stdio_peer(places) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            refusals = [
                await peer.error("chat/send", {"chatId": chat_id, "content": "hello"}),
                await peer.error("chat/create", {"model": "x:y"}),
            ]
            assert [refusal["code"] for refusal in refusals] == [1012, 1006]
            for refusal in refusals:
                assert f"{places['PARLEY_CONFIG']}, line {line}: " in refusal["message"]
            # What does not depend on it works.
            await peer.result("chat/setModel", {"chatId": chat_id, "model": "demo:demo"})
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
            assert answer["outcome"] == "completed"


async def test_unknown_models_and_missing_keys_are_told_before_anything_is_stored() -> None:
    config = (
        '[providers.x]\ntype = "openai-compat"\nbase_url = "http://127.0.0.1:9"\napi_key_env = "NO_KEY"\n'
    )
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        for reference in ("nope:x", "demo:x", "nothing"):
            assert (await peer.error("chat/create", {"model": reference}))["code"] == 1006
        chat_id = await peer.new_chat(model="demo:demo")
        for method in ("chat/send", "chat/ask"):
            refusal = await peer.error(method, {"chatId": chat_id, "content": "a", "model": "x:y"})
            assert (refusal["code"], refusal["data"]) == (1007, {"reason": "missing_api_key"})
            assert "NO_KEY" in refusal["message"]
        assert (await peer.result("chat/get", {"chatId": chat_id}))["messages"] == []
        listed = await peer.result("model/list")
        by_name = {one["provider"]: one for one in listed["providers"]}
        assert (by_name["x"]["available"], by_name["x"]["unavailableReason"]) == (False, "missing_api_key")


async def test_a_data_directory_that_cannot_be_used_is_named_by_every_call_that_needs_it(
    places: dict[str, str],
) -> None:
    directory = Path(places["PARLEY_DATA_DIR"])
    directory.write_text("a file where the folder should be", "ascii")
    async with stdio_peer(places) as peer:
        await peer.initialize()
        for method in ("chat/create", "chat/list"):
            refusal = await peer.error(method, {})
            assert refusal["code"] == 1013
            assert str(directory) in refusal["message"]
        assert "cannot be used" in (await peer.result("server/status"))["store"]["error"]
        assert (await peer.result("model/list"))["providers"]
    serve = [sys.executable, "-m", "parley_daemon", "serve"]
    done = await anyio.run_process(serve, env=places, check=False)
    assert done.returncode == 1
    assert f"Cannot store chats in {directory}" in done.stderr.decode()


async def test_a_newer_store_is_refused_by_name_while_everything_else_is_answered() -> None:
    async with running_daemon() as daemon:
        await daemon.stop()
        path = daemon.data_dir / "parley.db"
        with contextlib.closing(sqlite3.connect(path)) as newer:
            newer.execute("PRAGMA user_version = 99")
        before = path.read_bytes()
        await daemon.start()
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            calls: list[tuple[str, dict[str, Any]]] = [
                ("chat/create", {}),
                ("chat/list", {}),
                ("chat/get", {"chatId": TURN_ID}),
            ]
            for method, params in calls * 2:
                refusal = await peer.error(method, params)
                assert refusal["code"] == 1013
                assert f"{path} was written by a newer parleyd (store version 99" in refusal["message"]
            assert "newer parleyd" in (await peer.result("server/status"))["store"]["error"]
            assert (await peer.result("model/list"))["providers"]
        assert await daemon.stop() == 0
        assert path.read_bytes() == before
        assert not list(daemon.data_dir.glob("parley.db?*"))


async def test_a_store_that_may_not_be_written_any_more_goes_on_once_it_may() -> None:
    async with running_daemon(prefix=without_privileges()) as daemon:
        folder, path = daemon.data_dir, daemon.data_dir / "parley.db"
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast one"})
            folder.chmod(0o500)
            path.chmod(0o400)
            # What is open stays so: the system asks who may write when a file is opened.
            await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast two"})
            acknowledged = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
        await daemon.restart(kill=True)
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            for method, params in [("chat/list", {}), ("chat/send", {"chatId": chat_id, "content": "three"})]:
                refusal = await peer.error(method, params)
                assert refusal["code"] == 1013
                assert f"{path} cannot be used: Permission denied." in refusal["message"]
            folder.chmod(0o700)
            path.chmod(0o600)
            # It looks at the store again after a second.
            stored = await peer.result_in_time("chat/get", {"chatId": chat_id}, code=1013)
            assert stored["messages"] == acknowledged
            done = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast three"})
            assert done["outcome"] == "completed"


async def test_nobody_at_the_other_end_fails_the_turn_and_leaves_the_chat_usable() -> None:
    config = (
        '[retries]\nattempts = 1\n[providers.x]\ntype = "openai-compat"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(model="x:y")
        await peer.subscribe(chat_id)
        failed = await peer.result("chat/ask", {"chatId": chat_id, "content": "hello"})
        assert (failed["outcome"], failed["error"]["kind"]) == ("failed", "network")
        assert "127.0.0.1:9" in failed["error"]["message"]
        assert (await peer.result("chat/get", {"chatId": chat_id}))["chat"]["status"] == "error"
        await peer.result("chat/setModel", {"chatId": chat_id, "model": "demo:demo"})
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast again"})
        assert answer["outcome"] == "completed"


async def test_a_key_appears_nowhere_but_in_the_request() -> None:
    refusal = {"error": {"message": f"Incorrect API key provided: {CANARY}", "code": "invalid_api_key"}}
    async with fake_provider((status(401, refusal),), (status(500, {"error": CANARY}),)) as provider:
        config = f"""
            retries.attempts = 1
            [providers.x]
            type = "openai-compat"
            base_url = "{provider.base_url}"
            api_key_env = "CANARY_KEY"
        """
        async with running_daemon(config=config, env={"CANARY_KEY": CANARY}) as daemon:
            async with unix_peer(daemon.socket) as peer:
                await peer.result("initialize", {"capabilities": {}, "trace": "verbose"})
                chat_id = await peer.new_chat(model="x:y")
                await peer.subscribe(chat_id)
                kinds = [
                    (await peer.result("chat/ask", {"chatId": chat_id, "content": "a"}))["error"]["kind"]
                    for _ in range(2)
                ]
                assert kinds == ["auth", "overloaded"]
                assert CANARY not in str(peer.trace)
            await daemon.stop()
            assert CANARY in str(provider.requests[0].headers)
            for path in daemon.directory.rglob("*"):
                if path.is_file() and path.name != "config.toml":
                    assert CANARY.encode() not in path.read_bytes(), path
