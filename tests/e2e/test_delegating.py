"""Trees of chats through a real daemon, played offline by the demo model."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer

pytestmark = pytest.mark.slow

Json = dict[str, Any]
ENDS_WITHIN = 2  # seconds


def script(*calls: tuple[str, Json]) -> str:
    """Return a prompt with which the demo model makes these calls, one message for each."""
    return "/fast " + "\n/then\n".join([f"/tool {name} {json.dumps(args)}" for name, args in calls])


async def root_chat(peer: Peer, folder: Path, mode: str = "auto", **agent: Any) -> str:
    context = {"repositories": [folder.as_uri()]}
    return await peer.new_chat(settings={"agent": {"mode": mode, **agent}}, context=context)


async def results_of(peer: Peer, chat_id: str) -> list[Any]:
    messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
    return [
        part["result"] for message in messages for part in message["content"] if part["type"] == "tool-result"
    ]


async def test_the_demo_model_plays_a_tree_offline(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    look = script(("read_file", {"path": "a.txt"}), ("spawn_agent", {"task": "Deeper."}))
    async with running_daemon() as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await root_chat(peer, tmp_path)
        await peer.subscribe(chat_id)
        tasks = [{"task": look}, {"task": "/fast Hello.", "role": "a guest"}]
        prompt = "/fast " + "\n".join([f"/tool spawn_agent {json.dumps(task)}" for task in tasks])
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": prompt})
        assert answer["outcome"] == "completed"
        looked, greeted = await results_of(peer, chat_id)
        assert (looked["status"], greeted["status"]) == ("completed", "completed")
        assert "one" in looked["text"]
        assert "There is no tool 'spawn_agent'" in looked["text"]
        assert "Hello." in greeted["text"]
        shown = await peer.result("chat/get", {"chatId": chat_id})
        assert [child["status"] for child in shown["children"]] == ["completed", "completed"]
        children = [
            await peer.result("chat/get", {"chatId": child["childChatId"]}) for child in shown["children"]
        ]
        used = [one["chat"]["usage"]["totalTokens"] for one in (shown, *children)]
        assert shown["chat"]["usageTree"]["totalTokens"] == sum(used)
        assert all(one["chat"]["spawnedBy"]["toolCallId"] for one in children)
        assert "a guest" in children[1]["chat"]["systemPrompt"]
        statuses = [event["status"] for event in peer.events("s") if event["type"] == "child"]
        assert statuses.count("completed") >= 2


async def test_the_question_of_a_child_is_answered_at_the_root(tmp_path: Path) -> None:
    write = script(("write_file", {"path": "b.txt", "content": "two\n"}))
    async with running_daemon() as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await root_chat(peer, tmp_path, "ask")
        await peer.subscribe(chat_id)
        content = script(("spawn_agent", {"task": write}))
        await peer.result("chat/send", {"chatId": chat_id, "content": content})
        request = (await peer.event("s", "action_required"))["request"]
        assert request["chatId"] != chat_id
        await peer.event("s", "child", lambda event: event["status"] == "paused")
        params = {"chatId": chat_id, "requestId": request["id"], "decision": "allow"}
        await peer.result("chat/respond", params)
        ended = await peer.event("s", "turn_ended")
        assert ended["outcome"] == "completed"
        (report,) = await results_of(peer, chat_id)
        assert report["status"] == "completed"
    assert (tmp_path / "b.txt").read_text() == "two\n"


async def test_a_killed_daemon_leaves_no_child_at_work_and_the_tree_goes_on(tmp_path: Path) -> None:
    behind = {"task": "/slow 1000", "background": True}
    async with running_daemon() as daemon:
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await root_chat(peer, tmp_path, subagents={"parallel": 1})
            content = script(("spawn_agent", behind), ("spawn_agent", {"task": "One too many."}))
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": content})
            report, refused = await results_of(peer, chat_id)
            assert answer["children"] == [report["id"]]
            assert refused.startswith("1 agent works already")
        await daemon.kill()
        await daemon.start()
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            (child,) = (await peer.result("chat/get", {"chatId": chat_id}))["children"]
            assert (child["childChatId"], child["status"]) == (report["id"], "interrupted")
            again = script(
                ("message_agent", {"id": report["id"], "text": "/fast Again."}),
                ("wait_agents", {"ids": [report["id"]]}),
            )
            await peer.result("chat/ask", {"chatId": chat_id, "content": again})
            (last,) = (await results_of(peer, chat_id))[-1]
            assert last["status"] == "completed"
            assert "Again." in last["text"]


@pytest.mark.parametrize(
    ("scope", "left"), [("turn", ["running", "running"]), ("tree", ["interrupted", "running"])]
)
async def test_an_interrupt_reaches_what_its_scope_says(scope: str, left: list[str], tmp_path: Path) -> None:
    async with running_daemon() as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await root_chat(peer, tmp_path)
        await peer.subscribe(chat_id)
        tasks = script(
            ("spawn_agent", {"task": "/slow 1000", "background": True}),
            ("spawn_agent", {"task": "/slow 1001"}),
        )
        await peer.result("chat/send", {"chatId": chat_id, "content": tasks})
        started = await until(peer, lambda statuses: statuses == ["running", "running"])
        await peer.result("chat/interrupt", {"chatId": chat_id, "scope": scope})
        with anyio.fail_after(ENDS_WITHIN):
            ended = await peer.event("s", "turn_ended")
            await until(peer, lambda statuses: sorted(statuses) == left)
        assert ended["outcome"] == "interrupted"
        assert set(ended["children"]) <= started
        await peer.result("chat/interrupt", {"chatId": chat_id, "children": True})
        with anyio.fail_after(ENDS_WITHIN):
            await until(peer, lambda statuses: set(statuses) == {"interrupted"})


async def until(peer: Peer, holds: Callable[[list[str]], bool]) -> set[str]:
    """Wait until this holds for the newest statuses of all children; return the ids of those that run."""
    while True:
        newest = {
            event["childChatId"]: event["status"] for event in peer.events("s") if event["type"] == "child"
        }
        if holds(list(newest.values())):
            return {id for id, status in newest.items() if status == "running"}
        await peer.changed()


@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=3))
@settings(max_examples=examples(3))
async def test_kills_start_no_child_twice_and_leave_none_at_work(
    counts: list[int],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        (root / "a.txt").write_text("one\n")
        work = {"task": script(("read_file", {"path": "a.txt"}), ("todo", {"items": []}))}
        content = script(
            ("spawn_agent", {**work, "background": True}), ("spawn_agent", work), ("list_agents", {})
        )
        async with running_daemon() as daemon:
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                chat_id = await root_chat(peer, root)
            for count in counts:
                async with unix_peer(daemon.socket) as peer:
                    await peer.initialize()
                    await peer.subscribe(chat_id)
                    await peer.result("chat/send", {"chatId": chat_id, "content": content})
                    with anyio.move_on_after(5):
                        while len(peer.events("s")) < count:
                            await peer.changed()
                    await daemon.kill()
                await daemon.start()
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                await check_after_kills(peer, chat_id)


async def check_after_kills(peer: Peer, chat_id: str) -> None:
    """Check that nothing is at work, each call has a result and at most one child, and the sums are exact."""
    shown = await peer.result("chat/get", {"chatId": chat_id})
    assert shown["chat"]["status"] in ("waiting", "error")
    ids = [child["childChatId"] for child in shown["children"]]
    assert all(child["status"] in ("completed", "interrupted") for child in shown["children"])
    chats = [shown["chat"], *[(await peer.result("chat/get", {"chatId": id}))["chat"] for id in ids]]
    total = sum(chat["usage"]["totalTokens"] or 0 for chat in chats)
    assert (shown["chat"]["usageTree"]["totalTokens"] or 0) == total
    origins = [(chat["spawnedBy"]["turnId"], chat["spawnedBy"]["toolCallId"]) for chat in chats[1:]]
    assert len(set(origins)) == len(origins)
    messages = shown["messages"]
    for message, after in zip(messages, [*messages[1:], None], strict=True):
        calls = [part["toolCallId"] for part in message["content"] if part["type"] == "tool-call"]
        if calls:
            assert after is not None
            assert [part["toolCallId"] for part in after["content"]] == calls
