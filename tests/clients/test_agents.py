"""Turns that act, from Python: what they ask for, how it is answered, and what they have done."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from parley_clients import Client, ConflictError, connect
from parley_clients.answers import join_texts
from parley_protocol.models.events import ActionRequiredEvent
from tests.support.processes.daemon import DaemonProcess

READ = '/tool read_file {"path": "area.py"}'
EDIT = '/tool edit_file {"path": "area.py", "oldText": "a + b", "newText": "a * b"}'


@pytest.fixture
async def client(shared_daemon: DaemonProcess) -> AsyncGenerator[Client]:
    """A client of a daemon that is there already."""
    async with connect(f"unix:{shared_daemon.socket}", client_name="asker") as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file that a model works on."""
    (tmp_path / "area.py").write_text("def area(a, b):\n    return a + b\n", "utf-8")
    return tmp_path


async def test_a_turn_asks_and_goes_on_with_the_answer(client: Client, folder: Path) -> None:
    chat = await client.create_chat(agent="ask", context={"repositories": [folder.as_uri()]})
    seen: list[str] = []
    files: list[str] = []
    async for event in chat.stream(f"/fast {READ}\n/then\n{EDIT}"):
        if event.request is not None:
            assert isinstance(event.model, ActionRequiredEvent)
            assert event.request.kind == "permission"
            assert event.request.title == "Edit area.py"
            assert "+    return a * b" in event.request.preview["diff"]
            assert [rule["id"] for rule in event.request.rules]
            assert "a + b" in (folder / "area.py").read_text("utf-8")
            answered = await chat.respond(event.request, "allow")
            assert answered.model.outcome == "allowed"
            with pytest.raises(ConflictError):
                await chat.respond(event.request, "deny")
        if event.tool_call is not None:
            seen.append(f"calls {event.tool_call['toolName']}")
        if event.tool_result is not None:
            seen.append(f"{event.tool_result['toolName']} {event.tool_result['outcome']}")
        files += [file["path"] for file in event.files]
    assert seen == ["calls read_file", "read_file ok", "calls edit_file", "edit_file ok"]
    assert files == [(folder / "area.py").as_uri()]
    assert "a * b" in (folder / "area.py").read_text("utf-8")


async def test_a_stored_rule_answers_the_next_time_and_a_denial_says_why(
    client: Client, folder: Path
) -> None:
    chat = await client.create_chat(agent="ask", context={"repositories": [folder.as_uri()]})
    asked = 0
    async for event in chat.stream(f"/fast {READ}\n/then\n{EDIT}\n/then\n{READ}\n/then\n{EDIT}"):
        if event.request is not None:
            asked += 1
            with pytest.raises(ValueError, match='"allow_always" needs the rule to store'):
                await chat.respond(event.request.id, "allow_always")
            await chat.respond(event.request, "allow_always", rule=event.request.rules[0])
    assert asked == 1
    outside = '/tool read_file {"path": "/etc/hostname"}'
    said = ""
    async for event in chat.stream(f"/fast {outside}"):
        if event.request is not None:
            await chat.respond(event.request, "deny", reason="stay at home")
        if event.tool_result is not None:
            said = f"{event.tool_result['outcome']}: {event.tool_result['result']}"
    assert said.startswith("denied: ")
    assert "stay at home" in said


async def test_without_a_person_what_would_be_asked_is_denied_and_an_open_question_is_in_the_view(
    client: Client, folder: Path
) -> None:
    context = {"repositories": [folder.as_uri()]}
    chat = await client.create_chat(agent="ask", context=context)
    answer = await chat.ask(f"/fast {READ}\n/then\n{EDIT}", agent={"interactive": False})
    outcomes = [
        p["outcome"] for m in answer.raw["messages"] for p in m["content"] if p["type"] == "tool-result"
    ]
    assert outcomes == ["ok", "denied"]
    async with chat.attach() as live:
        await chat.send(f"/fast {READ}\n/then\n{EDIT}")
        async for event in live:
            if event.request is not None:
                assert [request["id"] for request in live.state.action_requests] == [event.request.id]
                await chat.respond(event.request, "deny")
            if event.type == "action_resolved":
                assert event.raw["by"] == "asker"
                assert live.state.action_requests == []
            if event.type == "turn_ended":
                break


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("I look.", "Done.", "I look.\n\nDone."),
        ("I look.\n", "Done.", "I look.\n\nDone."),
        ("I look.\n\n", "Done.", "I look.\n\nDone."),
        ("", "Done.", "Done."),
        ("I look.", "", "I look."),
    ],
)
def test_the_texts_of_two_messages_stand_apart(before: str, after: str, joined: str) -> None:
    assert join_texts(before, after) == joined


async def test_the_text_of_a_turn_of_several_messages_is_the_same_in_all_ways_to_read_it(
    client: Client,
) -> None:
    chat = await client.create_chat(agent="ask")
    script = '/fast /tool todo {"items": []}'
    pieces = chat.stream(script).text()
    joined = "".join([piece async for piece in pieces])
    whole = [text async for text in chat.stream(script).text(cumulative=True)][-1]
    answer = await chat.ask(script)
    assert pieces.answer is not None
    assert joined == whole == answer.text == pieces.answer.text
    assert answer.text.startswith("I call `todo`.\n\nThis is what came of it:")
