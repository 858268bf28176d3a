"""Exported chats: they come back as they were, broken ones leave nothing behind, no key is in them."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from msgspec.structs import fields, replace

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.core.parts import File, Text, ToolCall
from parley_daemon.core.records import Chat, Message, ModelSettings, QueuedMessage, Turn
from parley_daemon.engine.collection.copying import copy_with_new_ids
from parley_daemon.ports.store import ChatTooLargeError, WholeChat
from parley_daemon.ports.store_writes import AddMessage, PutChat, PutQueued, PutTurn
from parley_daemon.server.files import chat_export, chat_import
from parley_daemon.server.wire.errors import WireError
from parley_protocol.errors import ErrorCode
from parley_protocol.models.exports import (
    ChatFile,
    ExportedChat,
    ExportedMessage,
    ExportedQueuedMessage,
    ExportedTurn,
)
from tests.support.engine.records import a_chat, a_message, a_queued, a_turn
from tests.support.engine.rig import Disk, FakeClock, running
from tests.support.engine.strategies import whole_chats
from tests.support.examples import examples

Json = dict[str, Any]


def without_ids(text: str) -> Json:
    """Return an export without the ids that an import renews; turns are numbered as they occur."""
    file = json.loads(text)
    turns: dict[str | None, int | None] = {None: None}
    for one in file["turns"]:
        one["id"] = turns.setdefault(one["id"], len(turns))
    for one in (*file["messages"], *file["queuedMessages"]):
        one["turnId"] = turns.setdefault(one["turnId"], len(turns))
    for one in (file["chat"], *file["queuedMessages"]):
        del one["id"]
    return file


def ends_with_calls(whole: WholeChat) -> bool:
    """Return whether the active branch ends with calls of tools: a copy has results for them in addition."""
    leaf = next((one for one in whole.messages if one.id == whole.chat.leaf_id), None)
    return leaf is not None and any(isinstance(part, ToolCall) for part in leaf.content)


complete_chats = whole_chats().filter(lambda whole: not ends_with_calls(whole))


@settings(max_examples=examples(10), deadline=None)
@given(whole_chats())
def test_an_export_read_back_is_the_same_chat(whole: WholeChat) -> None:
    read = chat_import.read(chat_export.write(whole))
    assert replace(read, chat=replace(read.chat, owner="local")) == whole


@settings(max_examples=examples(10), deadline=None)
@given(complete_chats)
def test_an_export_of_an_import_is_the_same_file_but_for_ids(whole: WholeChat) -> None:
    text = chat_export.write(whole)
    copy = copy_with_new_ids(chat_import.read(text), "somebody else", None, FakeClock().new_id)
    again = chat_export.write(copy)
    assert without_ids(again) == without_ids(text)
    ids = {copy.chat.id, *[one.id for one in copy.turns], *[one.id for one in copy.queue]}
    assert len(ids) == 1 + len(copy.turns) + len(copy.queue)
    assert ids.isdisjoint({whole.chat.id, *[one.id for one in whole.turns], *[one.id for one in whole.queue]})
    assert {one.chat_id for one in (*copy.messages, *copy.turns, *copy.queue)} <= {copy.chat.id}
    assert copy.chat.owner == "somebody else"


@settings(max_examples=examples(10), deadline=None)
@given(complete_chats)
def test_exported_imported_and_exported_through_an_engine_it_is_the_same_but_for_ids(
    whole: WholeChat,
) -> None:
    async def round_trip() -> None:
        state = MemoryState()
        await MemoryStore(state).commit(
            PutChat(whole.chat),
            *map(AddMessage, whole.messages),
            *map(PutTurn, whole.turns),
            *map(PutQueued, whole.queue),
        )
        async with running(Disk(state)) as rig:
            text = chat_export.write(await rig.chats.read_whole("c1", max_bytes=10**6))
            view = await rig.chats.import_chat(chat_import.read(text), merge=False)
            assert view.chat.id != "c1"
            again = await rig.chats.read_whole(view.chat.id, max_bytes=10**6)
            assert without_ids(chat_export.write(again)) == without_ids(text)
            # The file fits the chat that it came from: there is nothing to merge, and the chat is as it was.
            assert (await rig.chats.import_chat(chat_import.read(text), merge=True)).chat.id == "c1"
            assert chat_export.write(await rig.chats.read_whole("c1", max_bytes=10**6)) == text

    asyncio.run(round_trip())


@settings(max_examples=examples(10), deadline=None)
@given(whole_chats())
def test_the_schema_describes_the_file(whole: WholeChat) -> None:
    value = json.loads(chat_export.write(whole))
    written = ChatFile.model_validate(value, strict=True).to_wire()
    for file in (value, written):
        for one in (file["chat"], *file["turns"], *file["queuedMessages"]):
            del one["settings"]["providerOptions"]  # what is not given is left out there, not null
    assert written == value


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join([word.title() for word in rest])


@pytest.mark.parametrize(
    ("record", "exported", "left_out"),
    [
        (
            Chat,
            ExportedChat,
            {"owner", "lastSeq", "reservedSeq", "childCount", "foundTools", "diffStatus"},
        ),
        (Message, ExportedMessage, {"chatId", "siblings"}),
        (Turn, ExportedTurn, {"chatId", "step"}),
        (QueuedMessage, ExportedQueuedMessage, {"chatId", "steers"}),
    ],
)
def test_every_field_of_a_record_is_in_the_file_or_left_out_on_purpose(
    record: Any, exported: Any, left_out: set[str]
) -> None:
    """A field that a record gets one day is lost on the way out and in unless somebody decides about it."""
    of_record = {camel(field.name) for field in fields(record)}
    in_file = {camel(name) for name in exported.model_fields}
    assert of_record - in_file == left_out
    assert in_file <= of_record


def small() -> WholeChat:
    """Return a chat with a branch, a turn and a queue."""
    return WholeChat(
        a_chat(leaf_id=2, last_message_id=3),
        (a_message(1), a_message(2), a_message(3, parent_id=1)),
        (a_turn(outcome="completed", ended_at="2026-01-02T03:04:06.000Z"),),
        (a_queued("q1"),),
    )


def test_the_file_has_a_line_for_each_message_and_is_always_the_same() -> None:
    text = chat_export.write(small())
    assert text == chat_export.write(small())
    assert sum(line.startswith('{"id":') for line in text.splitlines()) == 5
    assert '"format":"parley-chat","version":1' in text.splitlines()[0]


def test_a_turn_under_way_is_left_out_and_its_question_is_not() -> None:
    whole = replace(small(), turns=(a_turn(),))
    file = json.loads(chat_export.write(whole))
    assert file["turns"] == []
    assert [one["turnId"] for one in file["messages"]] == ["t1"] * 3
    assert chat_import.read(chat_export.write(whole)).turns == ()


KEYED = ModelSettings(
    provider_options={
        "openaiCompat": {
            "user": "me",
            "extraHeaders": {"Authorization": "Bearer SECRET", "X-Trace": "SECRET too"},
            "extraBody": {
                "max_tokens": 5,
                "api_key": "SECRET",
                "nested": [{"clientSecret": "SECRET", "eos_token": "kept"}],
                "auth-token": "SECRET",
                "password": "SECRET",
            },
        },
        "vercel": {"extraBody": {"apiKey": "SECRET"}},
    }
)


def test_no_credential_of_settings_is_in_the_file() -> None:
    whole = WholeChat(
        a_chat(settings=KEYED, last_message_id=1),
        (a_message(1),),
        (a_turn(outcome="completed", settings=KEYED),),
        (a_queued("q1", settings=KEYED),),
    )
    text = chat_export.write(whole)
    assert "SECRET" not in text
    read = chat_import.read(text)
    expected: Json = {
        "openaiCompat": {"user": "me", "extraBody": {"max_tokens": 5, "nested": [{"eos_token": "kept"}]}},
        "vercel": {"extraBody": {}},
    }
    for one in (read.chat, *read.turns, *read.queue):
        assert one.settings.provider_options == expected
    assert chat_export.write(read) == text


# ----------------------------------------------------------------------- broken files


def changed(*path: str | int, value: Any) -> Callable[[], str]:
    """Return a maker of the small chat's file with one value changed; ... removes it."""

    def make() -> str:
        file: Any = json.loads(chat_export.write(small()))
        at = file
        for step in path[:-1]:
            at = at[step]
        if value is ...:
            del at[path[-1]]
        else:
            at[path[-1]] = value
        return json.dumps(file)

    return make


BROKEN: Sequence[tuple[Callable[[], str], str]] = [
    (lambda: "# A chat\n\nHello", "not JSON"),
    (lambda: chat_export.write(small())[:-40], "not JSON"),
    (lambda: '{"chat":' + "[" * 100_000, "not JSON"),
    (lambda: "[1]", "no JSON object"),
    (lambda: "null", "no JSON object"),
    (lambda: "{}", 'format is not "parley-chat"'),
    (changed("format", value="chatgpt"), 'format is not "parley-chat"'),
    (changed("format", value=["parley-chat"]), 'format is not "parley-chat"'),
    (changed("version", value=2), "newer parleyd"),
    (changed("version", value=True), "version"),
    (changed("version", value="1"), "version"),
    (changed("version", value=0), "version"),
    (changed("version", value=...), "version"),
    (changed("chat", value=...), "chat must be an object"),
    (changed("chat", value=[]), "chat must be an object"),
    (changed("chat", "id", value=""), "chat.id"),
    (changed("chat", "title", value=5), "chat.title must be a string"),
    (changed("chat", "title", value="x" * 256), "chat.title"),
    (changed("chat", "status", value="running"), "chat.status"),
    (changed("chat", "createdAt", value="yesterday"), "chat.createdAt"),
    (changed("chat", "metadata", value={"big": "x" * 20_000}), "chat.metadata"),
    (changed("chat", "systemPrompt", value="x" * 300_000), "chat.systemPrompt takes 300000 bytes"),
    (changed("chat", "settings", "temperature", value=9), "chat.settings.temperature"),
    (changed("chat", "leafId", value=9), "chat.leafId is 9"),
    (changed("messages", value=...), "messages must be a list"),
    (changed("messages", value={}), "messages must be a list"),
    (changed("messages", 1, value=7), "messages[1] must be an object"),
    (changed("messages", 1, "role", value="robot"), "messages[1].role"),
    (changed("messages", 1, "id", value="2"), "messages[1].id"),
    (changed("messages", 1, "id", value=0), "messages[1].id"),
    (changed("messages", 1, "id", value=1), "two messages have the id 1"),
    (changed("messages", 1, "parentId", value=2), "message 2 follows 2"),
    (changed("messages", 0, "parentId", value=3), "message 1 follows 3"),
    (changed("messages", 0, "content", value="hello"), "messages[0].content"),
    (changed("messages", 0, "content", 0, value={"type": "hologram"}), "messages[0].content[0]"),
    (changed("messages", 0, "content", 0, value={"type": "file", "mediaType": "image/png"}), "data or url"),
    (changed("messages", 0, "content", 0, value={"type": "file", "mediaType": "x"}), "mediaType"),
    (changed("messages", 0, "createdAt", value="2026-13-45T00:00:00.000Z"), "messages[0].createdAt"),
    (changed("messages", 0, "clientMessageId", value=""), "messages[0].clientMessageId"),
    (changed("messages", 0, "clientMessageId", value="x" * 256), "messages[0].clientMessageId"),
    (changed("messages", 0, "turnId", value=""), "messages[0].turnId"),
    (changed("messages", 0, "id", value=2**53), "messages[0].id"),
    (changed("messages", 0, "usage", value={"inputTokens": 2**70}), "messages[0].usage.inputTokens"),
    (changed("chat", "model", value=""), "chat.model"),
    (changed("chat", "parentChatId", value=""), "chat.parentChatId"),
    (changed("chat", "forkedFrom", value={"chatId": "", "messageId": 1}), "chat.forkedFrom.chatId"),
    (changed("chat", "forkedFrom", value={"chatId": "c", "messageId": -1}), "chat.forkedFrom.messageId"),
    (
        changed("chat", "settings", "providerOptions", value={"openai": {"reasoningEffort": "banana"}}),
        "chat.settings.providerOptions.openai.reasoningEffort",
    ),
    (changed("turns", 0, "acceptedAt", value="soon"), "turns[0].acceptedAt"),
    (changed("queuedMessages", 0, "clientMessageId", value=""), "queuedMessages[0].clientMessageId"),
    (changed("turns", 0, "outcome", value=None), "turns[0].outcome"),
    (changed("turns", 0, "userMessageId", value=8), "answers message 8"),
    (changed("queuedMessages", 0, "turnId", value="t1"), "two turns have the id t1"),
    (changed("queuedMessages", value=[]), ""),
]


@pytest.mark.parametrize(("make", "problem"), BROKEN[:-1])
async def test_a_broken_file_is_refused_with_a_sentence_that_says_where(
    make: Callable[[], str], problem: str
) -> None:
    with pytest.raises(WireError) as caught:
        chat_import.read(make())
    assert caught.value.code is ErrorCode.INVALID_PARAMS
    assert problem in caught.value.message
    assert caught.value.data is not None
    assert caught.value.data["fields"][0]["path"] == "content"
    assert len(caught.value.message) < 300


def test_a_byte_order_mark_before_a_file_is_ignored() -> None:
    text = chat_export.write(small())
    assert chat_import.read("\ufeff" + text) == chat_import.read(text)


def test_client_message_ids_are_unique_over_messages_and_queue() -> None:
    whole = replace(small(), queue=(a_queued("q1", client_message_id="mine"),))
    twice = replace(whole, messages=(a_message(1, client_message_id="mine"), *whole.messages[1:]))
    assert chat_import.read(chat_export.write(whole)).queue == whole.queue
    with pytest.raises(WireError, match="clientMessageId mine"):
        chat_import.read(chat_export.write(twice))


def test_a_queue_is_no_longer_than_queues_may_be() -> None:
    def queue(count: int) -> WholeChat:
        return replace(small(), queue=tuple([a_queued(f"q{number}") for number in range(count)]))

    assert len(chat_import.read(chat_export.write(queue(20))).queue) == 20
    with pytest.raises(WireError, match="queue"):
        chat_import.read(chat_export.write(queue(21)))


def test_what_a_later_version_adds_is_ignored() -> None:
    file = json.loads(chat_export.write(small()))
    for one in (file, file["chat"], file["messages"][0], file["messages"][0]["content"][0], file["turns"][0]):
        one["mood"] = {"new": [1]}
    assert chat_import.read(json.dumps(file)) == chat_import.read(chat_export.write(small()))


def test_a_file_written_by_hand_needs_no_more_than_what_was_said() -> None:
    moment = "2026-01-02T03:04:05.678Z"
    said = {"id": 1, "role": "user", "content": [{"type": "text", "text": "Hi"}], "createdAt": moment}
    file = {
        "format": "parley-chat",
        "version": 1,
        "chat": {"id": "mine", "leafId": 1, "createdAt": moment, "updatedAt": moment},
        "messages": [said],
    }
    read = chat_import.read(json.dumps(file))
    assert (read.chat.last_message_id, read.messages[0].content) == (1, (Text("Hi"),))


def test_too_much_is_refused_on_the_way_out_and_in(monkeypatch: pytest.MonkeyPatch) -> None:
    text = chat_export.write(small())
    for module, limit in ((chat_export, len(text) - 1), (chat_import, len(text) - 1)):
        monkeypatch.setattr(module, "CONTENT_LIMIT", limit)
    with pytest.raises(ChatTooLargeError):
        chat_export.write(replace(small(), messages=(a_message(1, content=(File("x", data="A" * 9999),)),)))
    with pytest.raises(ChatTooLargeError):
        chat_import.read(text)
