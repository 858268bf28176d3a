"""Child chats of a real daemon: seen, asked and stopped at their parent, and what kills leave of them."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.demo_chats import STEP, begin, calls, request, results
from tests.support.processes.raw_client import Json, Peer, unix_peer

pytestmark = pytest.mark.slow


def child_runs(command: str, **more: Any) -> str:
    """Return a prompt whose turn starts a child that runs a command, which has to be allowed."""
    return calls(("spawn_agent", {"task": f"/fast {calls(('run', {'command': command}))}", **more}))


@pytest.fixture
async def peer(shared_daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize(clientName="vim")
        yield peer
        await peer.result("chat/delete", {"all": True})


async def child_of(peer: Peer, chat_id: str, status: str = "running") -> str:
    """Wait until a child is told of in this status; subscribe to it; return its id."""
    told = await peer.event(chat_id, "child", lambda event: event["status"] == status)
    child_id = told["childChatId"]
    await peer.result("chat/subscribe", {"chatId": child_id, "partialResultToken": child_id})
    return child_id


async def answer_at(peer: Peer, chat_id: str, asked: Json, decision: str = "allow") -> Json:
    params = {"chatId": chat_id, "requestId": asked["id"], "decision": decision}
    return await peer.request("chat/respond", params)


async def test_a_question_of_a_child_is_answered_at_its_parent_and_its_report_comes_back(
    peer: Peer, tmp_path: Path
) -> None:
    chat_id = await begin(peer, child_runs("echo hello"), "ask", tmp_path.as_uri())
    child_id = await child_of(peer, chat_id, "paused")
    asked = await request(peer, chat_id)
    assert asked["chatId"] == child_id
    await peer.event(chat_id, "status", lambda event: event["status"] == "paused")
    got = await peer.result("chat/get", {"chatId": chat_id})
    assert (got["chat"]["status"], got["chat"]["openRequests"]) == ("paused", 1)
    assert [one["id"] for one in got["actionRequests"]] == [asked["id"]]
    assert [one["childChatId"] for one in got["children"]] == [child_id]
    assert (await answer_at(peer, chat_id, asked))["result"] == {"outcome": "allowed"}
    assert (await answer_at(peer, child_id, asked))["error"]["code"] == 1011
    ((report, outcome),) = await results(peer, chat_id)
    assert (outcome, report["id"], report["status"]) == ("ok", child_id, "completed")
    child = (await peer.result("chat/get", {"chatId": child_id}))["chat"]
    root = (await peer.result("chat/get", {"chatId": chat_id}))["chat"]
    assert (child["kind"], child["parentChatId"], child["status"]) == ("agent", chat_id, "completed")
    total = root["usage"]["totalTokens"] + child["usage"]["totalTokens"]
    assert root["usageTree"]["totalTokens"] == total
    listed = await peer.result("chat/list", {"kind": "chat"})
    assert chat_id in [one["id"] for one in listed["chats"]]
    assert {one["kind"] for one in listed["chats"]} == {"chat"}
    assert await peer.result("chat/delete", {"chatIds": [chat_id]}) == {
        "deleted": [chat_id, child_id],
        "errors": [],
    }


async def test_an_interrupt_of_the_tree_leaves_what_works_in_the_background(
    peer: Peer, tmp_path: Path
) -> None:
    both = f"{child_runs('sleep 271', background=True)}{STEP}{child_runs('sleep 272')}"
    chat_id = await begin(peer, both, "ask", tmp_path.as_uri())
    first = await request(peer, chat_id)
    second = await request(peer, chat_id, 2)
    behind, waited = first["chatId"], second["chatId"]
    await peer.result("chat/interrupt", {"chatId": chat_id})
    ended = await peer.event(chat_id, "turn_ended")
    assert ended["outcome"] == "interrupted"
    await peer.event(
        chat_id, "child", lambda event: (event["childChatId"], event["status"]) == (waited, "interrupted")
    )
    got = await peer.result("chat/get", {"chatId": chat_id})
    assert [one["status"] for one in got["children"]] == ["paused", "interrupted"]
    assert [one["id"] for one in got["actionRequests"]] == [first["id"]]
    await peer.result("chat/interrupt", {"chatId": chat_id, "children": True})
    await peer.event(
        chat_id, "child", lambda event: (event["childChatId"], event["status"]) == (behind, "interrupted")
    )
    assert (await peer.result("chat/get", {"chatId": chat_id}))["chat"]["openRequests"] == 0


MOMENTS = ("child", "tool_started", "action_required", "action_resolved", "turn_ended")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_kill_starts_no_child_twice_and_leaves_nothing_stuck(
    daemon: DaemonProcess, tmp_path: Path, moment: str
) -> None:
    marks = tmp_path / "marks"
    prompt = child_runs(f"echo x >> {marks}")
    async with unix_peer(daemon.socket, check=False) as peer:
        await peer.initialize()
        chat_id = await begin(peer, prompt, "ask", tmp_path.as_uri())
        if moment in ("action_resolved", "turn_ended"):
            await answer_at(peer, chat_id, await request(peer, chat_id))
        await peer.event(chat_id, moment)
    await daemon.kill()
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        await peer.result("chat/subscribe", {"chatId": chat_id, "partialResultToken": chat_id})
        got = await peer.result("chat/get", {"chatId": chat_id})
        assert got["chat"]["childCount"] <= 1
        assert len(got["children"]) == got["chat"]["childCount"]
        parts = [part for message in got["messages"] for part in message["content"]]
        outcomes = [part["outcome"] for part in parts if part["type"] == "tool-result"]
        assert outcomes in ([], ["ok"], ["interrupted"])
        for asked in got["actionRequests"]:  # the child waits for it, also after the restart
            await answer_at(peer, chat_id, asked)
            await peer.event(chat_id, "child", lambda event: event["status"] == "completed")
        for child in (await peer.result("chat/get", {"chatId": chat_id}))["children"]:
            assert child["status"] in ("completed", "interrupted")
        sent = await peer.result("chat/send", {"chatId": chat_id, "content": "/fast And now?"})
        ended = await peer.event(chat_id, "turn_ended", lambda event: event["turnId"] == sent["turnId"])
        assert ended["outcome"] == "completed"
        status = await peer.result("server/status", {})
        assert status["runningTurns"] == 0
    text = await anyio.Path(marks).read_text() if await anyio.Path(marks).exists() else ""
    assert text in ("", "x\n")
