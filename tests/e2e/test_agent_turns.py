"""Agent turns through a real daemon, in every dialect: read, edit after a permission, run, and go on."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.processes.trace_agents import living_processes
from tests.support.providers.agents import DIALECTS, PROVIDER_TYPES, AgentProvider, Said, Turn
from tests.support.providers.built_requests import MODELS
from tests.support.providers.server import FakeProvider, fake_provider

pytestmark = pytest.mark.slow

Json = dict[str, Any]
SECONDS = {
    dialect: 10_000 * (2 + at) + os.getpid() % 10_000 for at, dialect in enumerate(DIALECTS)
}  # what commands leave behind


def config(server: FakeProvider) -> str:
    """Return a configuration with a provider of each dialect."""
    providers = "".join(
        [
            f'[providers.{dialect}]\ntype = "{PROVIDER_TYPES[dialect]}"\napi_key = "sk-canary"\n'
            f'base_url = "{server.base_url if dialect in ("chat", "responses") else server.origin}"\n'
            for dialect in DIALECTS
        ]
    )
    return f"titles.enabled = false\nretries.first_ms = 0\n{providers}"


async def answer_requests(peer: Peer, turn_id: str, *decisions: str) -> list[Json]:
    """Answer the requests of a turn, in their order; return them."""
    answered: list[Json] = []
    for decision in decisions:
        seen = {request["id"] for request in answered}

        def is_new(event: Json, seen: set[str] = seen) -> bool:
            return event["turnId"] == turn_id and event["request"]["id"] not in seen

        request = (await peer.event("s", "action_required", is_new))["request"]
        answered.append(request)
        params = {"chatId": request["chatId"], "requestId": request["id"], "decision": decision}
        await peer.result("chat/respond", params)
    return answered


def story(turn: Turn) -> Said:
    """Look at two things at once, mend one, try it, and try what is not allowed. The question is a number."""
    match len(turn.results):
        case 0:
            read: Json = {"path": "a.txt"}
            return Said(
                "I look.", "First I look.", (("call_1", "read_file", read), ("call_2", "list_files", {}))
            )
        case 2:
            edit = {"path": "a.txt", "oldText": "wrong", "newText": "right"}
            return Said("", "Then I mend it.", (("call_3", "edit_file", edit),))
        case 3:
            return Said(
                "Now I try it.",
                "It should do.",
                (("call_4", "run", {"command": f"sleep {turn.question} & cat a.txt"}),),
            )
        case 4:
            return Said("", "I clean up.", (("call_5", "delete_file", {"path": "a.txt"}),))
        case 5:
            return Said("", "Odd.", (("call_6", "no_such_tool", {}), ("call_7", "read_file", {"line": 1})))
        case _:
            return Said(f"Done: {turn.results[3]}")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_story_with_permissions_ends_in_every_dialect(dialect: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("It is wrong.\n")
    agent = AgentProvider(story)
    async with fake_provider() as server, running_daemon(config=config(server)) as daemon:
        server.choose = agent.choose
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat(
                model=f"{dialect}:{MODELS[dialect]}",
                settings={"agent": {"mode": "ask"}},
                context={"repositories": [tmp_path.as_uri()]},
            )
            await peer.subscribe(chat_id)
            sent = await peer.result("chat/send", {"chatId": chat_id, "content": str(SECONDS[dialect])})
            turn_id = sent["turnId"]
            edit, run, delete = await answer_requests(peer, turn_id, "allow", "allow", "deny")
            ended = await peer.event("s", "turn_ended", lambda event: event["turnId"] == turn_id)
            messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
            assert living_processes(f"sleep {SECONDS[dialect]}") == []
    assert agent.faults == []
    assert ended["outcome"] == "completed"
    assert (edit["toolName"], run["toolName"], delete["toolName"]) == ("edit_file", "run", "delete_file")
    assert (tmp_path / "a.txt").read_text() == "It is right.\n"
    results = [part for message in messages if message["role"] == "tool" for part in message["content"]]
    assert [part["toolCallId"] for part in results] == [f"call_{n}" for n in range(1, 8)]
    assert [part["outcome"] for part in results] == ["ok"] * 4 + ["denied", "failed", "failed"]
    assert "It is right." in results[3]["result"]
    assert messages[-1]["content"][-1]["text"].startswith("Done: ")


async def test_a_chat_changes_its_provider_in_the_middle_and_after_a_crash(tmp_path: Path) -> None:
    """Every dialect goes on with the calls of the others, and with those that a crash has cut off."""
    (tmp_path / "a.txt").write_text("It is wrong.\n")

    def play(turn: Turn) -> Said:
        if len(turn.results) < 2:
            at = f"call_{abs(hash(turn.question)) % 10**6}_{len(turn.results)}"
            return Said("", "I look.", ((at, "read_file", {"path": "a.txt"}),))
        if turn.question == "Ask me.":
            return Said("", "I ask.", ((f"call_asks_{len(turn.results)}", "run", {"command": "true"}),))
        return Said(f"Read by {turn.question}")

    agent = AgentProvider(play)
    async with fake_provider() as server, running_daemon(config=config(server)) as daemon:
        server.choose = agent.choose
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            context = {"repositories": [tmp_path.as_uri()]}
            chat_id = await peer.new_chat(settings={"agent": {"mode": "ask"}}, context=context)
            await peer.subscribe(chat_id)
            for dialect in DIALECTS:
                agent.forget()
                asked: Json = {"chatId": chat_id, "content": dialect, "model": f"{dialect}:{MODELS[dialect]}"}
                answer = await peer.result("chat/ask", asked)
                assert answer["messages"][-1]["content"][-1]["text"] == f"Read by {dialect}"
            agent.forget()
            model = f"google:{MODELS['google']}"
            await peer.result("chat/send", {"chatId": chat_id, "content": "Ask me.", "model": model})
            request = (await peer.event("s", "action_required"))["request"]
        await daemon.restart(kill=True)
        async with unix_peer(daemon.socket) as peer:
            await peer.initialize()
            snapshot = (await peer.subscribe(chat_id))["snapshot"]
            assert [each["id"] for each in snapshot["actionRequests"]] == [request["id"]]
            await peer.result("chat/interrupt", {"chatId": chat_id})
            await peer.event("s", "turn_ended")
            for dialect in DIALECTS:
                agent.forget()
                asked = {"chatId": chat_id, "content": dialect, "model": f"{dialect}:{MODELS[dialect]}"}
                await peer.result("chat/ask", asked)
    assert agent.faults == []
