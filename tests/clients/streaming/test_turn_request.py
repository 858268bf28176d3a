"""Editing, trying again, and the branches that come of it, from Python against real daemon processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest

from parley_clients import (
    Chat,
    Client,
    ConnectionLostError,
    InvalidParamsError,
    LiveChat,
    MessageNotFoundError,
    connect,
)
from parley_protocol.fold import plain_text
from parley_protocol.models.turns import ChatAskResult
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.relay import relay_to
from tests.support.providers.script import Script, cut, done, finish, stall, text
from tests.support.providers.server import FakeProvider, fake_provider

WHOLE = 30


@pytest.fixture
async def client(shared_daemon: DaemonProcess) -> AsyncGenerator[Client]:
    """A client of a daemon that is there already."""
    async with connect(f"unix:{shared_daemon.socket}") as client:
        yield client


async def _asked(client: Client, *questions: str) -> Chat:
    chat = await client.create_chat()
    for question in questions or ("/fast /tokens 2",):
        await chat.ask(question)
    return chat


async def test_an_edit_is_answered_beside_what_was_there(client: Client) -> None:
    chat = await _asked(client)
    answer = await chat.edit(1, "/fast /tokens 3")
    assert (answer.text, answer.outcome) == ("1 2 3 ", "completed")
    assert isinstance(answer.model, ChatAskResult)
    assert answer.model.to_wire() == answer.raw
    assert answer.raw["messages"] == (await chat.get()).messages[1:]
    assert [place.siblings for place in await chat.branches()] == [[1, 3]]


async def test_a_retry_answers_the_last_question_or_the_one_that_is_named(client: Client) -> None:
    chat = await _asked(client, "/fast /tokens 2", "/fast /tokens 3")
    assert (await chat.retry()).text == "1 2 3 "
    assert [place.siblings for place in await chat.branches()] == [[4, 5]]
    assert (await chat.retry(1, model="demo:demo")).text == "1 2 "
    assert [(p.message_id, p.siblings, p.index) for p in await chat.branches()] == [(6, [2, 6], 1)]


@pytest.mark.parametrize("again", ["edit", "retry"])
async def test_the_stream_and_the_finished_answer_say_the_same(client: Client, again: str) -> None:
    question = "/fast What is the same in both?"
    one, other = await _asked(client, question), await _asked(client, question)
    if again == "edit":
        answer, stream = await one.edit(1, question), other.stream_edit(1, question)
    else:
        answer, stream = await one.retry(), other.stream_retry()
    events = [event async for event in stream]
    assert stream.answer is not None
    assert answer.text
    assert answer.text == stream.answer.text == "".join([event.text for event in events])
    assert answer.reasoning == stream.answer.reasoning == "".join([event.reasoning for event in events])
    assert events[-1].type == "turn_ended"
    assert {event.turn_id for event in events} == {stream.answer.turn_id}
    stored = (await other.get()).messages[-1]
    assert plain_text(stored["content"]) == answer.text


async def test_the_value_of_an_output_schema_is_in_the_answer_of_an_edit_and_of_a_retry(
    client: Client,
) -> None:
    schema = {"outputSchema": {"type": "array", "items": {"const": 1}, "minItems": 1}}
    chat = await client.create_chat(settings=schema)
    assert (await chat.ask("What?")).output == [1]
    edited, again = await chat.edit(1, "Which?"), await chat.retry()
    assert (edited.output, edited.model.output) == (again.output, again.model.output) == ([1], [1])
    stream = chat.stream_retry()
    events = [event async for event in stream]
    assert stream.answer is not None
    assert stream.answer.output == events[-1].raw["output"] == [1]
    plain = await client.create_chat()
    assert (await plain.ask("/fast What?")).output is None
    other = await plain.retry(settings={"outputSchema": {"const": "x"}})
    assert other.output == "x"
    assert (await plain.retry()).output is None


async def test_sending_an_edit_or_a_retry_does_not_wait_for_its_turn(client: Client) -> None:
    chat = await _asked(client)
    edited = await chat.send_edit(1, "/stall")
    assert (edited.disposition, edited.raw["message"]["siblings"]) == ("started", [1, 3])
    again = await chat.send_retry()
    assert again.turn_id != edited.turn_id
    await chat.interrupt()


async def test_a_refused_edit_raises_in_each_form(client: Client) -> None:
    chat = await _asked(client)
    for call in (chat.edit(9, "x"), chat.send_edit(9, "x"), chat.stream_edit(9, "x").finish()):
        with pytest.raises(MessageNotFoundError) as refused:
            await call
        assert refused.value.client_message_id is None
    with pytest.raises(InvalidParamsError):
        await chat.edit(1, [])
    assert len((await chat.get()).messages) == 2


async def test_leaving_or_giving_up_interrupts_the_new_turn(client: Client) -> None:
    chat = await _asked(client)
    async with chat.attach(tail=0) as live:
        async with chat.stream_edit(1, "/stall") as stream:
            async for event in stream:
                if event.type == "message_part":
                    break
        await _until(live, "interrupted")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat.retry)
            await _until_text(live)
            tasks.cancel_scope.cancel()
        await _until(live, "interrupted")
    assert (await chat.ask("/fast /tokens 1")).text == "1 "


async def test_a_timeout_leaves_no_turn_running(client: Client) -> None:
    """It may pass before the turn begins or while it runs; both end in an idle chat."""
    chat = await _asked(client)
    await chat.send_edit(1, "/stall")
    await chat.interrupt()
    with pytest.raises(TimeoutError):
        await chat.retry(timeout=0.3)
    await _until_waiting(chat)
    assert (await chat.ask("/fast /tokens 1")).text == "1 "


async def _until_text(live: LiveChat) -> None:
    with anyio.fail_after(WHOLE):
        async for event in live:
            if event.text:
                return


async def _until_waiting(chat: Chat) -> None:
    async with chat.attach(tail=0) as live:
        with anyio.fail_after(WHOLE):
            while live.state.status != "waiting":
                await live.batch()


async def _until(live: LiveChat, outcome: str) -> None:
    with anyio.fail_after(WHOLE):
        async for event in live:
            if event.type == "turn_ended":
                assert event.raw["outcome"] == outcome
                return


async def test_an_interrupted_stream_ends_with_what_there_is(client: Client) -> None:
    chat = await _asked(client)
    stream = chat.stream_edit(1, "/stall")
    async for event in stream:
        if event.text:
            stream.interrupt()
    assert stream.answer is not None
    assert stream.answer.outcome == "interrupted"
    assert stream.answer.text == plain_text((await chat.get()).messages[-1]["content"])


async def test_what_is_called_off_at_once_leaves_no_turn_running(client: Client) -> None:
    chat = await _asked(client)
    for _ in range(5):
        stream = chat.stream_retry()
        async with stream:
            stream.interrupt()
    await _until_waiting(chat)
    assert (await chat.ask("/fast /tokens 1")).text == "1 "


async def test_only_the_events_of_the_own_turn_come(client: Client) -> None:
    """A turn runs when the edit comes, and a queue goes on behind a retry: none of that is in the stream."""
    chat = await _asked(client)
    await chat.send("/stall")
    await chat.send("/fast /tokens 9")
    events = [event async for event in chat.stream_retry(1)]
    assert "".join([event.text for event in events]) == "1 2 "
    assert len({event.turn_id for event in events}) == 1
    assert [event.type for event in events].count("turn_ended") == 1


async def test_branches_are_named_and_can_be_gone_back_to(client: Client) -> None:
    chat = await _asked(client)
    await chat.edit(1, "/fast /tokens 3")
    await chat.retry()
    question, answer = await chat.branches()
    assert (question.message["role"], question.siblings, question.index) == ("user", [1, 3], 1)
    assert (answer.message_id, answer.siblings) == (5, [4, 5])
    await chat.select_branch(1)
    assert [message["id"] for message in (await chat.get()).messages] == [1, 2]
    await chat.select_branch(4)
    assert [message["id"] for message in (await chat.get()).messages] == [3, 4]
    await chat.rewind(3)
    assert [message["id"] for message in (await chat.get()).messages] == [3]
    with pytest.raises(MessageNotFoundError):
        await chat.select_branch(77)


async def test_all_branches_of_a_long_chat_are_found(client: Client) -> None:
    history = [{"role": role, "content": "x"} for _ in range(150) for role in ("user", "assistant")]
    chat = await client.create_chat(messages=history)
    await chat.edit(299, "/fast /tokens 1")
    await chat.send_retry()
    await chat.edit(1, "/fast /tokens 1")
    await chat.select_branch(301)
    assert [place.siblings for place in await chat.branches()] == [[1, 304], [299, 301], [302, 303]]


async def test_text_comes_in_pieces_or_whole_each_time(client: Client) -> None:
    chat = await client.create_chat()
    pieces = [text async for text in chat.stream("/fast /tokens 50").text()]
    whole = [text async for text in chat.stream("/fast /tokens 50").text(cumulative=True)]
    assert "".join(pieces) == whole[-1] == "".join([f"{number} " for number in range(1, 51)])
    assert len(pieces) > 1
    assert all(later.startswith(earlier) for earlier, later in pairwise(whole))
    stream = chat.stream_edit(1, "/fast /tokens 4")
    assert [text async for text in stream.text(cumulative=True)][-1] == "1 2 3 4 "
    assert stream.answer is not None


async def test_leaving_the_text_leaves_the_turn(client: Client) -> None:
    chat = await client.create_chat()
    async with chat.attach(tail=0) as live:
        async for _ in chat.stream("/stall").text(cumulative=True):
            break
        await _until(live, "interrupted")


ANSWER: Script = (text("The ", "answer."), finish(), done())


@asynccontextmanager
async def _on_a_provider(provider: FakeProvider) -> AsyncGenerator[Chat]:
    config = f"""
        default_model = "fake:one"
        [providers.fake]
        type = "openai-compat"
        base_url = "{provider.base_url}"
        [retries]
        first_ms = 10
        [titles]
        enabled = false
    """
    async with running_daemon(config=config) as daemon, connect(f"unix:{daemon.socket}") as client:
        yield await client.create_chat()


@pytest.mark.parametrize("again", [False, True])
async def test_cumulative_text_begins_again_after_a_false_start(again: bool) -> None:
    # The first attempt breaks off only after its text was seen: otherwise one batch may hold both attempts.
    seen = anyio.Event()
    false_start: Script = (text("This is ", "void"), stall(seen), cut())
    scripts = [ANSWER] if again else []
    async with fake_provider(*scripts, false_start, ANSWER) as provider, _on_a_provider(provider) as chat:
        if again:
            await chat.ask("first")
        stream = chat.stream_retry() if again else chat.stream("first")
        texts: list[str] = []
        async for so_far in stream.text(cumulative=True):
            texts.append(so_far)
            if so_far == "This is void":
                seen.set()
    assert stream.answer is not None
    assert texts[-1] == stream.answer.text == "The answer."
    assert "This is void" in texts
    assert not [text for text in texts if "void" in text and "answer" in text]
    assert [len(later) < len(earlier) for earlier, later in pairwise(texts)].count(True) == 1


async def test_an_edit_goes_on_over_a_lost_connection(daemon: DaemonProcess) -> None:
    """Its request cannot be sent again, so its events are gone on with."""
    async with relay_to(daemon.socket) as relay, connect(relay.address) as client:
        chat = await _asked(client)
        stream = chat.stream_edit(1, "/tokens 40")
        seen = ""
        with anyio.fail_after(WHOLE):
            async for event in stream:
                before, seen = seen, seen + event.text
                if len(before) < 20 <= len(seen):
                    relay.cut()
        assert seen == "".join([f"{number} " for number in range(1, 41)])
        assert stream.answer is not None
        assert stream.answer.text == seen


@pytest.mark.slow
async def test_an_edit_whose_daemon_dies_ends_with_an_error(daemon: DaemonProcess) -> None:
    async with connect(f"unix:{daemon.socket}") as client:
        chat = await _asked(client)
        stream = chat.stream_edit(1, "/stall")
        with anyio.fail_after(WHOLE), pytest.raises(ConnectionLostError):
            async for event in stream:
                if event.text:
                    await daemon.restart(kill=True)
