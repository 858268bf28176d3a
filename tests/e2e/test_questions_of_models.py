"""What a model asks of people: answers to questions, the approval of a plan, pages that it may not see."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.demo_chats import STEP, begin, calls, request, respond, results
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.processes.web_server import run_web_server

QUESTIONS = [
    {"text": "Which database?", "options": ["SQLite", "PostgreSQL"]},
    {"text": "Why?", "multi": True},
]
ASK = calls(("ask_user", {"questions": QUESTIONS}))
PLAN = ("exit_plan", {"plan": "# Move it\n1. Move the module."})


@pytest.fixture
async def peer(shared_daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize(clientName="vim")
        yield peer
        await peer.result("chat/delete", {"all": True})


async def mode(peer: Peer, chat_id: str) -> str:
    chat = (await peer.result("chat/get", {"chatId": chat_id}))["chat"]
    return chat["settings"]["agent"]["mode"]


async def test_answers_reach_the_model_and_one_that_does_not_fit_closes_nothing(peer: Peer) -> None:
    chat_id = await begin(peer, ASK, "auto")
    asked = await request(peer, chat_id)
    assert (asked["kind"], asked["title"]) == ("question", "2 questions: Which database?")
    assert [one["text"] for one in asked["preview"]["questions"]] == ["Which database?", "Why?"]
    assert (await peer.result("chat/get", {"chatId": chat_id}))["chat"]["status"] == "paused"
    for result in (None, {"answers": ["SQLite"]}, {"answers": [["a", "b"], []]}, {"reason": "?"}):
        refused = (await respond(peer, asked, "allow", result))["error"]
        assert (refused["code"], refused["data"]["fields"][0]["path"]) == (-32602, "result")
    assert "result" in await respond(peer, asked, "allow", {"answers": ["DuckDB", ["small", "fast"]]})
    assert (await respond(peer, asked, "allow", {"answers": ["late", []]}))["error"]["code"] == 1011
    assert await results(peer, chat_id) == [
        (
            {
                "answers": [
                    {"question": "Which database?", "answer": "DuckDB"},
                    {"question": "Why?", "answer": ["small", "fast"]},
                ]
            },
            "ok",
        )
    ]


async def test_questions_are_denied_with_a_reason_or_when_nobody_is_there(peer: Peer) -> None:
    chat_id = await begin(peer, ASK)
    await respond(peer, await request(peer, chat_id), "deny", {"reason": "Decide yourself."})
    ((why, outcome),) = await results(peer, chat_id)
    assert (outcome, "Decide yourself." in why) == ("denied", True)
    alone = await begin(peer, ASK, interactive=False)
    ((why, outcome),) = await results(peer, alone)
    assert (outcome, "Nobody is there" in why) == ("denied", True)


async def test_an_approved_plan_changes_the_mode_once_and_a_denied_one_does_not(peer: Peer) -> None:
    chat_id = await begin(peer, calls(PLAN) + STEP + calls(PLAN, PLAN) + STEP + calls(PLAN), "plan")
    first = await request(peer, chat_id)
    assert (first["kind"], first["preview"]["plan"]) == ("plan", PLAN[1]["plan"])
    await respond(peer, first, "deny", {"reason": "Too large."})
    second = await request(peer, chat_id, 2)
    assert await mode(peer, chat_id) == "plan"
    assert (await respond(peer, second, "allow", {"mode": "plan"}))["error"]["code"] == -32602
    await respond(peer, second, "allow", {"mode": "edits"})
    denied, approved, *later = await results(peer, chat_id)
    assert (denied[1], "Too large." in denied[0]) == ("denied", True)
    assert (approved[1], '"edits"' in approved[0]) == ("ok", True)
    assert [outcome for _, outcome in later] == ["failed", "failed"]
    assert await mode(peer, chat_id) == "edits"
    events = [event["request"]["id"] for event in peer.events(chat_id) if event["type"] == "action_required"]
    assert events == [first["id"], second["id"]]


async def test_a_list_of_tasks_is_shown_as_the_result(peer: Peer) -> None:
    items = [{"text": "Read the module", "status": "in_progress"}]
    chat_id = await begin(
        peer, calls(("todo", {"items": items}), ("todo", {"items": [{"text": ""}]})), "plan"
    )
    shown, refused = await results(peer, chat_id)
    assert shown == ("- [ ] (in progress) Read the module", "ok")
    assert (refused[1], "items[0]" in refused[0]) == ("failed", True)


async def test_a_page_on_this_machine_is_refused_even_if_a_person_allows_it(peer: Peer) -> None:
    async with run_web_server() as canary:
        url = f"http://localhost.:{canary.port}/secret"
        chat_id = await begin(peer, calls(("fetch_url", {"url": url}), ("fetch_url", {"url": "file:///etc"})))
        asked = await request(peer, chat_id)
        assert (asked["kind"], asked["preview"]["url"]) == (
            "permission", f"http://localhost:{canary.port}/secret",
        )  # fmt: skip
        await respond(peer, asked)
        refused, invalid = await results(peer, chat_id)
        assert (refused[1], "not in the public internet" in refused[0]) == ("failed", True)
        assert (invalid[1], "http:// or https://" in invalid[0]) == ("failed", True)
        assert canary.connections == 0


@pytest.mark.slow
async def test_questions_and_calls_of_clients_stay_open_over_a_kill(daemon: DaemonProcess) -> None:
    tool = {"name": "count", "description": "Counts.", "inputSchema": {"type": "object"}, "kind": "read"}
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize(clientName="db")
        await peer.result("tool/register", {"tools": [tool]})
        chats = [await begin(peer, ASK), await begin(peer, calls(("count", {"n": 1})))]
        asked = [await request(peer, chat_id) for chat_id in chats]
    await daemon.kill()
    await daemon.start()
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize(clientName="db")
        for chat_id, before in zip(chats, asked, strict=True):
            snapshot = await peer.result("chat/get", {"chatId": chat_id})
            assert [one["id"] for one in snapshot["actionRequests"]] == [before["id"]]
            assert snapshot["chat"]["status"] == "paused"
            await peer.result("chat/subscribe", {"chatId": chat_id, "partialResultToken": chat_id})
        assert (await respond(peer, asked[1], "allow", {"content": "forged"}))["error"]["code"] == 1009
        await peer.result("tool/register", {"tools": [tool]})
        assert "result" in await respond(peer, asked[0], "allow", {"answers": ["SQLite", []]})
        assert "result" in await respond(peer, asked[1], "allow", {"content": {"rows": 2}})
        assert (await results(peer, chats[0]))[0][1] == "ok"
        assert await results(peer, chats[1]) == [({"rows": 2}, "ok")]


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_a_call_whose_client_does_not_come_back_ends(daemon: DaemonProcess) -> None:
    tool = {"name": "count", "description": "Counts.", "inputSchema": {"type": "object"}, "kind": "read"}
    async with unix_peer(daemon.socket) as person:
        await person.initialize(clientName="person")
        async with unix_peer(daemon.socket) as db:
            await db.initialize(clientName="db")
            await db.result("tool/register", {"tools": [tool]})
            chat_id = await begin(person, calls(("count", {})))
            await request(person, chat_id)
        ended = await person.event(chat_id, "turn_ended", seconds=60)
        assert ended["outcome"] == "completed"
        ((why, outcome),) = await results(person, chat_id)
        assert (outcome, "gone for 30 s" in why) == ("timed_out", True)
