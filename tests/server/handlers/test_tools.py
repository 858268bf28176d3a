"""tool/list over the wire of a real daemon."""

from pathlib import Path
from typing import Any

from parley_protocol.models.agents.tools import ToolListResult
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


async def tools(peer: Peer, **params: Any) -> dict[str, dict[str, Any]]:
    """Return the tools by their names."""
    result = await peer.result("tool/list", params)
    assert ToolListResult.model_validate(result).to_wire() == result
    names = [one["name"] for one in result["tools"]]
    assert names == sorted(names)
    return {one["name"]: one for one in result["tools"]}


async def test_the_tools_of_a_chat_say_what_becomes_of_their_calls(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        settings = {"agent": {"mode": "ask", "tools": {"deny": ["todo"]}}}
        context = {"repositories": [tmp_path.as_uri()]}
        chat = await peer.result("chat/create", {"settings": settings, "context": context})
        listed = await tools(peer, chatId=chat["id"])
        assert "todo" not in listed
        decisions = {name: (listed[name]["kind"], listed[name]["decision"]) for name in listed}
        assert decisions["read_file"] == ("read", "allow")
        assert decisions["edit_file"] == ("edit", "ask")
        assert listed["read_file"]["available"]
        assert not listed["exit_plan"]["available"]
        assert "plan" in listed["exit_plan"]["reason"]


async def test_a_chat_without_a_folder_or_without_tools_says_why(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        settings = {"agent": {"mode": "auto"}}
        chat = await peer.result("chat/create", {"settings": settings, "context": {}})
        listed = await tools(peer, chatId=chat["id"])
        assert not listed["read_file"]["available"]
        assert "folder" in listed["read_file"]["reason"]
        assert listed["ask_user"]["available"]
        off = await peer.result("chat/create", {})
        assert not any(one["available"] for one in (await tools(peer, chatId=off["id"])).values())
        everything = await tools(peer)
        assert everything["read_file"]["available"]
        assert (await peer.request("tool/list", {"chatId": "none"}))["error"]["code"] == 1001
