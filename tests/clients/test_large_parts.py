"""Chats with large parts in the Python client and in the terminal: they are fetched when they are needed."""

import base64
import json
from collections.abc import Generator
from typing import Any

import pytest

from parley_clients import sync
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_parley

TEXT = "word " * 300_000 + "end"
IMAGE = {
    "type": "file",
    "mediaType": "image/png",
    "data": base64.b64encode(b"x" * 3_000_000).decode(),
    "title": "x.png",
}


@pytest.fixture
def client(shared_daemon: DaemonProcess) -> Generator[sync.Client]:
    """A client of a daemon that is there already."""
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        yield client


def large_chat(client: sync.Client) -> sync.Chat:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": TEXT}, IMAGE]},
        {"role": "assistant", "content": "I see."},
    ]
    return client.chat(client.call("chat/create", {"messages": messages}).raw["id"])


def test_references_are_replaced_by_whole_parts_on_demand(client: sync.Client) -> None:
    chat = large_chat(client)
    with chat.attach() as live:
        question = live.state.messages[0]
        assert [part.get("ref") for part in question["content"]] == [True, True]
        assert chat.file(question["id"], 1) == IMAGE
        assert chat.whole(question)["content"] == [{"type": "text", "text": TEXT}, IMAGE]
        texts = chat.whole(question, types=["text"])["content"]
        assert (texts[0]["text"], texts[1]["ref"]) == (TEXT, True)
    assert IMAGE["data"] in chat.export("json")


def test_the_terminal_shows_whole_texts_and_names_files(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    id = large_chat(client).id
    shown = run_parley(shared_daemon.env, "show", id)
    assert TEXT in shown.stdout
    assert "[file x.png]" in shown.stdout
    whole = json.loads(run_parley(shared_daemon.env, "show", id, "--json").stdout)
    assert whole["messages"][0]["content"] == [{"type": "text", "text": TEXT}, IMAGE]
