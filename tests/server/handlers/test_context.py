"""Contexts over the wire, with the index of a real daemon: searches, states, turns, the tool."""

from pathlib import Path
from typing import Any

import pytest

from parley_clients import sync
from parley_protocol.errors import ErrorCode
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer

BASKET = '"""Baskets."""\n\n\ndef weigh_basket(fruits):\n    return sum(one.weight for one in fruits)\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "basket.py").write_text(BASKET)
    (tmp_path / "notes.md").write_text("# Notes\n\nNothing about fruits.\n")
    (tmp_path / ".env").write_text("KEY=weigh_basket\n")
    return tmp_path


async def test_folders_are_searched_and_their_state_is_told(peer: Peer, folder: Path) -> None:
    found = await peer.result("context/search", {"roots": [folder.as_uri()], "queries": ["weigh basket"]})
    assert found["state"] == "ready"
    best = found["sources"][0]
    assert (best["url"], best["title"]) == ((folder / "basket.py").as_uri(), "basket.py")
    assert (best["sourceId"], best["origin"], best["stale"]) == ("S1", "retrieval", False)
    lines = BASKET.splitlines()[best["startLine"] - 1 : best["endLine"]]
    assert best["text"] == "\n".join(lines)
    assert all(not one["url"].endswith(".env") for one in found["sources"])
    (root,) = (await peer.result("context/status", {"root": folder.as_uri()}))["roots"]
    assert (root["uri"], root["state"], root["files"]) == (folder.as_uri(), "ready", 2)
    assert root["skipped"]["secret"] == 1
    assert root["chunks"] >= 2
    assert folder.as_uri() in [one["uri"] for one in (await peer.result("context/status"))["roots"]]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"queries": ["a"]}, "chatId"),
        ({"queries": [], "roots": ["file:///a"]}, "queries"),
        ({"queries": ["a"] * 5, "roots": ["file:///a"]}, "queries"),
        ({"queries": [" "], "roots": ["file:///a"]}, "queries[0]"),
        ({"queries": ["a"], "roots": ["/a"]}, "roots[0]"),
    ],
)
async def test_a_search_that_makes_no_sense_is_refused_by_its_field(
    peer: Peer, params: dict[str, Any], field: str
) -> None:
    error = await peer.error("context/search", params)
    assert (error["code"], error["data"]["fields"][0]["path"]) == (ErrorCode.INVALID_PARAMS, field)


async def test_a_folder_that_is_no_root_cannot_be_searched(peer: Peer, tmp_path: Path) -> None:
    for uri in ((tmp_path / "nowhere").as_uri(), "file:///"):
        error = await peer.error("context/search", {"roots": [uri], "queries": ["a"]})
        assert error["code"] == ErrorCode.FOLDER_UNREADABLE
    error = await peer.error("context/search", {"chatId": "nobody", "queries": ["a"]})
    assert error["code"] == ErrorCode.CHAT_NOT_FOUND


def test_a_plain_chat_answers_with_the_same_sources_streamed_and_whole(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(context={"repositories": [folder.as_uri()]})
        whole = chat.ask("Where is the basket weighed?")
        best = whole.sources[0]
        assert (best["sourceId"], best["title"], best["origin"]) == ("S1", "basket.py", "retrieval")
        with chat.stream("Where is the basket weighed?") as turn:
            told = [event.raw["message"] for event in turn if event.type == "message"]
            assert turn.answer is not None
            streamed = turn.answer.sources
        question = next(one for one in told if one["role"] == "user")
        assert question["retrieval"]["state"] == "ready"
        assert [part for part in question["content"] if part["type"] == "source"] == streamed

        def place(one: dict[str, Any]) -> tuple[Any, ...]:
            return one["url"], one["startLine"], one["endLine"], one["text"], one["contentHash"]

        assert list(map(place, streamed)) == list(map(place, whole.sources))
        found = chat.search_context(["weigh basket", "weight of fruits"], limit=1)
        assert [one["title"] for one in found.sources] == ["basket.py"]
        again = client.context.search("weigh", roots=[folder.as_uri()])
        assert again.state == "ready"
        assert client.context.status(folder.as_uri()).roots[0]["files"] == 2


def test_the_globs_and_files_of_a_context_count_from_the_next_search_on(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(context={"repositories": [folder.as_uri()]})

        def titles() -> list[str]:
            return sorted({one["title"] for one in chat.search_context("fruits").sources})

        assert titles() == ["basket.py", "notes.md"]
        chat.set_context(exclude=["*.md"])
        assert titles() == ["basket.py"]
        chat.set_context(files=[(folder / "notes.md").as_uri()])
        assert titles() == ["basket.py", "notes.md"]
        chat.set_context(repositories=[], exclude=[])
        assert titles() == ["notes.md"]


def test_a_model_searches_by_a_tool_where_the_setting_lets_it(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    context = {"repositories": [folder.as_uri()]}
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        settings = {"agent": {"mode": "plan", "retrieval": "tool"}}
        chat = client.create_chat(context=context, settings=settings, model="demo:demo")
        answer = chat.ask('/tool search_context {"queries": ["weigh basket"]}')
        assert answer.sources == []
        result = next(
            part
            for message in answer.raw["messages"]
            for part in message["content"]
            if part["type"] == "tool-result"
        )
        best = result["result"]["sources"][0]
        assert (best["title"], best["origin"]) == ("basket.py", "tool")
        assert best["sourceId"].endswith(".1")
        off = client.create_chat(context=context, settings={"agent": {"mode": "plan", "retrieval": "off"}})
        listed = client.call("tool/list", {"chatId": off.id}).raw["tools"]
        tool = next(one for one in listed if one["name"] == "search_context")
        assert not tool["available"]
        assert "retrieval" in tool["reason"]
