"""`client.mcp` and the child chats of a chat, with a real daemon."""

import anyio
import pytest

from parley_clients import (
    ConflictError,
    InvalidParamsError,
    NotAllowedError,
    ToolNotFoundError,
    connect,
    sync,
)
from tests.support.processes.daemon import DaemonProcess, running_daemon

pytestmark = pytest.mark.slow

CONFIG = 'titles.enabled = false\n[mcp.docs]\ncommand = "/no/such/server"\n'


async def test_servers_are_added_changed_listed_and_removed() -> None:
    async with running_daemon(config=CONFIG) as daemon, connect(f"unix:{daemon.socket}") as client:
        listed = await client.mcp.add("files", "files-server", ["--all"], env={"KEY": "s3cret", "B": "x"})
        assert [one["name"] for one in listed.servers] == ["docs", "files"]
        assert "s3cret" not in str(listed.raw)
        files = listed.find("files")
        assert files is not None
        assert (files["command"], files["env"], files["state"], files["source"]) == (
            ["files-server", "--all"],
            ["KEY", "B"],
            "configured",
            "user",
        )
        changed = await client.mcp.update("files", args=None, env={"B": None}, cwd="/tmp")
        files = changed.find("files")
        assert files is not None
        assert (files["command"], files["env"], files["cwd"]) == (["files-server"], ["KEY"], "/tmp")
        with pytest.raises(ConflictError):
            await client.mcp.add("files", "again")
        with pytest.raises(InvalidParamsError):
            await client.mcp.add("both", "x", url="https://example.org/mcp")
        with pytest.raises(NotAllowedError):
            await client.mcp.remove("docs")
        with pytest.raises(ToolNotFoundError):
            await client.mcp.restart("nobody")
        chat = await client.create_chat(model="demo:demo")
        assert [one["name"] for one in (await client.mcp.list(chat.id)).servers] == ["docs", "files"]
        assert (await client.mcp.remove("files")).find("files") is None
        assert await chat.children() == []


async def test_the_blocking_client_has_the_same(daemon: DaemonProcess) -> None:
    def use() -> None:
        with sync.connect(f"unix:{daemon.socket}") as client:
            added = client.mcp.add("blocking", url="https://example.org/mcp", headers={"X-Key": "s3cret"})
            server = added.find("blocking")
            assert server is not None
            assert server["headers"] == ["X-Key"]
            client.mcp.remove("blocking")
            assert client.create_chat(model="demo:demo").children() == []

    await anyio.to_thread.run_sync(use)
