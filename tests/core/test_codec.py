"""Every field of every record reaches the wire, both stores and an exported file, and comes back from there.

Records are drawn by reflection: a new field takes part without a change here.
"""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.adapters.sqlite.store import SqliteStore
from parley_daemon.adapters.sqlite.tables import CHATS, MESSAGES, QUEUED, TURNS, Table
from parley_daemon.core import codec
from parley_daemon.core import records as core_records
from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.tools import FileChange, Preview
from parley_daemon.core.events import (
    ActionRequired,
    ChatChanged,
    Event,
    FilesChanged,
    MessageAdded,
    MessagePart,
    QueueUpdated,
    Timings,
)
from parley_daemon.core.parts import Part, Piece
from parley_daemon.core.pricing import Pricing
from parley_daemon.core.provider_records import ModelRecord, ProviderRecord
from parley_daemon.core.records import (
    AgentSettings,
    Chat,
    Context,
    Failure,
    ForkOrigin,
    Message,
    ModelSettings,
    QueuedMessage,
    SpawnOrigin,
    SubagentSettings,
    Timeouts,
    ToolFilter,
    Turn,
    Usage,
)
from parley_daemon.engine.chats.feed.event_log import Published
from parley_daemon.engine.chats.feed.snapshot import ChatView
from parley_daemon.ports.catalogue import ModelInfo, ModelSetup, ProviderCheck, ProviderInfo, ProviderSetup
from parley_daemon.ports.store import SearchHit, Store, WholeChat
from parley_daemon.ports.store_writes import AddMessage, PutChat, PutModel, PutProvider, PutQueued, PutTurn
from parley_daemon.server.files import chat_export, chat_import
from parley_daemon.server.wire import configuration, records
from parley_daemon.server.wire.events import event_bytes
from parley_daemon.server.wire.uris import file_uri
from parley_protocol.models import base, chats, events, exports, objects, parts, providers
from parley_protocol.models import settings as wire_settings
from parley_protocol.models.base import Wire, to_camel
from tests.support.engine.drawn_records import every_field

FEW = settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.generate],  # a field's name says more than a smaller record
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def show_chat(chat: Chat) -> Any:
    return records.chat(ChatView(chat, chat.status, chat.last_seq, 2))


# A record, its model, and how the server shows it when it is not shown as it is.
ON_THE_WIRE: list[tuple[type[Any], type[Wire], Any]] = [
    (Chat, objects.Chat, show_chat),
    (Message, objects.Message, records.message),
    (QueuedMessage, objects.QueuedMessage, records.queued_message),
    (ModelSettings, wire_settings.ModelSettings, records.settings),
    (Timeouts, wire_settings.Timeouts, None),
    (AgentSettings, wire_settings.AgentSettings, None),
    (ToolFilter, wire_settings.ToolFilter, None),
    (SubagentSettings, wire_settings.SubagentSettings, None),
    (Usage, objects.Usage, None),
    (Failure, objects.TurnError, None),
    (Timings, objects.Timings, None),
    (Context, objects.ChatContext, None),
    (ForkOrigin, objects.ForkOrigin, None),
    (SpawnOrigin, objects.SpawnOrigin, None),
    (Pricing, providers.ModelPricing, None),
    (ModelInfo, providers.Model, None),
    (ProviderInfo, providers.ModelProvider, None),
    (ProviderCheck, providers.ProviderCheckResult, None),
    (SearchHit, chats.ChatSearchHit, None),
    (ModelSetup, providers.ModelConfig, configuration.model_config),
]
OF_A_LIVE_CHAT: dict[type[Any], set[str]] = {Chat: {"open_requests", "usage_tree"}}
WIRE_PARTS: dict[str, type[Wire]] = {
    "Text": parts.TextPart,
    "Reasoning": parts.ReasoningPart,
    "ToolCall": parts.ToolCallPart,
    "ToolCallPiece": parts.ToolCallDelta,
    "ToolResult": parts.ToolResultPart,
    "ToolResultPiece": parts.ToolResultDelta,
    "Source": parts.SourcePart,
    "File": parts.FilePart,
}
# Where the name on the wire is another one, or the field is part of another object.
EVENT_FIELDS = {"queue": "queued_messages", "piece": "part"}
EVENT_MODELS: dict[str, type[Wire]] = {
    model.model_fields["type"].default: model
    for model in vars(events).values()
    if isinstance(model, type) and issubclass(model, events.EventBase) and "type" in model.model_fields
}
IN_A_FILE: list[tuple[type[Any], type[Wire]]] = [
    (Chat, exports.ExportedChat),
    (Message, exports.ExportedMessage),
    (Turn, exports.ExportedTurn),
    (QueuedMessage, exports.ExportedQueuedMessage),
]


def names(record: type[msgspec.Struct], *hidden: str) -> set[str]:
    return set(record.__struct_fields__) - set(hidden)


# ---------------------------------------------------------------------------------- the wire


@pytest.mark.parametrize(("record", "model", "_show"), ON_THE_WIRE)
def test_a_record_and_its_wire_model_have_the_same_fields(
    record: type[Any], model: type[Wire], _show: Any
) -> None:
    shown = names(record, *codec.NOT_ON_THE_WIRE.get(record, ()))
    assert shown | OF_A_LIVE_CHAT.get(record, set()) == set(model.model_fields)


@pytest.mark.parametrize(("record", "model", "show"), ON_THE_WIRE)
@FEW
@given(st.data())
def test_a_record_comes_back_from_the_wire_with_every_field(
    record: type[Any], model: type[Wire], show: Any, data: st.DataObject
) -> None:
    drawn = data.draw(every_field(record))
    sent = codec.encode(drawn if show is None else show(drawn))
    read = model.model_validate(json.loads(sent), strict=True, by_alias=True, by_name=False)
    hidden = codec.NOT_ON_THE_WIRE.get(record, frozenset[str]())
    unseen = {name: getattr(drawn, name) for name in hidden}
    assert codec.from_attributes(record, read, **unseen) == drawn


CHOICES: list[tuple[Any, Any]] = [
    (core_records.Status, objects.ChatStatus),
    (core_records.ChatKind, objects.ChatKind),
    (core_records.Outcome, objects.TurnOutcome),
    (core_records.FailureKind, objects.TurnErrorKind),
    (core_records.Role, base.Role),
]


@pytest.mark.parametrize(("of_the_core", "on_the_wire"), CHOICES)
def test_a_choice_has_the_same_values_in_the_core_and_on_the_wire(of_the_core: Any, on_the_wire: Any) -> None:
    values = get_args(of_the_core) or tuple(of_the_core)
    assert {str(value) for value in values} == set(get_args(on_the_wire))


def test_a_configured_provider_and_its_wire_model_have_the_same_fields() -> None:
    assert {to_camel(name) for name in providers.Provider.model_fields} == set(
        ProviderSetup.__struct_encode_fields__
    )


@pytest.mark.parametrize("kind", get_args(Piece))
@FEW
@given(st.data())
def test_a_part_comes_back_from_the_wire_with_every_field(kind: type[Any], data: st.DataObject) -> None:
    model = WIRE_PARTS[kind.__name__]
    assert names(kind) | {"type"} == set(model.model_fields)
    drawn = data.draw(every_field(kind))
    read = model.model_validate(json.loads(codec.encode(drawn)), strict=True)
    assert codec.from_attributes(kind, read) == drawn
    if kind in get_args(Part):
        assert records.core_part(read) == drawn  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", get_args(Event))
@FEW
@given(st.data())
def test_every_field_of_an_event_reaches_clients(kind: type[Any], data: st.DataObject) -> None:
    drawn: Any = data.draw(every_field(kind))
    sent = json.loads(event_bytes(Published(7, drawn), "c1"))
    model = EVENT_MODELS[sent["type"]]
    own = {EVENT_FIELDS.get(name, name) for name in names(kind)} - (
        {"status", "open_requests", "usage_tree"} if kind is ChatChanged else set()
    )
    optional = {"turn_id"} - own
    assert own | {"type", "chat_id", "seq", "span"} | optional == set(model.model_fields)
    assert (sent["chatId"], sent["seq"]) == ("c1", 7)
    read: Any = model.model_validate(sent, strict=True)
    match drawn:
        case MessagePart():
            assert codec.from_attributes(type(drawn.piece), read.part) == drawn.piece
        case MessageAdded():
            assert codec.from_attributes(Message, read.message) == drawn.message
        case QueueUpdated():
            assert len(read.queued_messages) == len(drawn.queue)
        case ChatChanged():
            assert (read.chat.status, read.chat.last_seq) == (drawn.status, 7)
            assert read.chat.open_requests == drawn.open_requests
            assert codec.from_attributes(Usage, read.chat.usage_tree) == drawn.usage_tree
        case ActionRequired():
            request = drawn.request
            assert names(ActionRequest) == set(objects.ActionRequest.model_fields)
            assert names(Preview) == set(objects.ActionPreview.model_fields)
            assert (read.request.id, read.request.title) == (request.id, request.title)
            assert [rule.text for rule in read.request.rules] == [rule_text(rule) for rule in request.rules]
        case FilesChanged():
            shown_files = [replace(one, path=file_uri(one.path)) for one in drawn.files]
            assert [codec.from_attributes(FileChange, one) for one in read.files] == shown_files
        case _:
            assert codec.from_attributes(kind, read) == drawn
    plain = names(kind) - {"piece", "message", "queue", "chat", "status", "request", "files", "open_requests"}
    plain -= {"usage_tree"}
    shown = json.loads(codec.encode(drawn))
    assert {to_camel(name): sent[to_camel(name)] for name in plain} == {
        to_camel(name): shown[to_camel(name)] for name in plain
    }


# --------------------------------------------------------------------------------- the stores

NO_SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("maxOutputTokens", "temperature", "topP", "topK", "presencePenalty"), None),
    **dict.fromkeys(
        ("frequencyPenalty", "stop", "seed", "outputSchema", "fallbackModels", "localOnly"), None
    ),
    "agent": {
        **dict.fromkeys(("mode", "mcpServers", "interactive", "maxSteps", "maxCostUsd", "maxMs"), None),
        "tools": {"allow": None, "deny": None},
        "subagents": {"depth": None, "parallel": None, "total": None},
        "retrieval": None,
    },
    "timeouts": dict.fromkeys(("connectMs", "firstPartMs", "idleMs", "totalMs", "aliveMs"), None),
    "providerOptions": {},
}
NO_CONTEXT: dict[str, Any] = {
    **dict[str, Any](repositories=[], include=[], exclude=[], files=[]),
    "chosen": False,
}
NO_USAGE: dict[str, None] = {
    **dict.fromkeys(("inputTokens", "outputTokens", "totalTokens", "reasoningTokens", "contextLimit"), None),
    **dict.fromkeys(("cacheCreationTokens", "cacheReadTokens", "costUsd"), None),
}


@st.composite
def chats_with_all(draw: st.DrawFn) -> WholeChat:
    """Return a chat with two messages, a turn that is over and a queue; no field is at its default."""
    first = draw(
        every_field(Message, id=1, chat_id="c1", parent_id=None, client_message_id="m1", siblings=())
    )
    second = draw(every_field(Message, id=2, chat_id="c1", parent_id=1, client_message_id="m2", siblings=()))
    turn = draw(every_field(Turn, id="t1", chat_id="c1", user_message_id=1))
    queued = draw(every_field(QueuedMessage, id="q1", chat_id="c1", turn_id="t2", client_message_id="m3"))
    chat = draw(every_field(Chat, id="c1", leaf_id=1, last_message_id=102))
    return WholeChat(chat, (first, second), (turn,), (queued,))


def write_whole(whole: WholeChat) -> list[Any]:
    return [
        PutChat(whole.chat),
        *map(AddMessage, whole.messages),
        *map(PutTurn, whole.turns),
        *map(PutQueued, whole.queue),
    ]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@FEW
@given(whole=chats_with_all(), data=st.data())
def test_a_store_returns_every_field(
    kind: str, whole: WholeChat, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    provider, model = data.draw(every_field(ProviderRecord)), data.draw(every_field(ModelRecord))

    async def write_and_read() -> None:
        store: Store = MemoryStore() if kind == "memory" else SqliteStore(folder / "store.sqlite3")
        await store.open()
        try:
            await store.commit(*write_whole(whole), PutProvider(provider), PutModel(model))
            assert await store.whole_chat("c1") == whole
            page = await store.path("c1", 2)
            assert page.messages == whole.messages
            configured = await store.configuration()
            assert (configured.providers, configured.models) == ((provider,), (model,))
        finally:
            await store.aclose()

    asyncio.run(write_and_read())


SMALLEST_BODIES: list[tuple[type[Any], bytes, tuple[Any, ...], dict[str, Any]]] = [
    (
        Chat,
        b'{"id":"c1","owner":"local","created_at":"t","updated_at":"t"}',
        (),
        {
            **{"kind": "chat", "titleIsAutomatic": True, "status": "waiting", "context": NO_CONTEXT},
            **{
                "settings": NO_SETTINGS,
                "archived": False,
                "pinned": False,
                "metadata": {},
                "usage": NO_USAGE,
            },
            **{"lastSeq": 0, "reservedSeq": 0, "lastMessageId": 0},
            **dict.fromkeys(("title", "lastError", "model", "systemPrompt", "parentChatId"), None),
            **dict.fromkeys(("rootChatId", "forkedFrom", "leafId"), None),
        },
    ),
    (
        Message,
        b'{"content":[["text",{"text":"hi"}]],"created_at":"t"}',
        ("c1", 1, None, None, "user", None, ()),
        {"complete": True, **dict.fromkeys(("model", "usage", "origin"), None)},
    ),
    (
        QueuedMessage,
        b'{"turn_id":"t1","content":[],"created_at":"t"}',
        ("q1", "c1", None),
        {"settings": NO_SETTINGS, "steers": False, **dict.fromkeys(("model", "origin"), None)},
    ),
    (
        Turn,
        b'{"id":"t1","chat_id":"c1","user_message_id":1,"accepted_at":"t"}',
        (),
        {
            "settings": NO_SETTINGS,
            **dict.fromkeys(("model", "endedAt", "outcome", "stopReason", "usage", "error", "output"), None),
        },
    ),
]
"""Each record with its smallest body, the values of its columns, and the defaults of the other fields."""


@pytest.mark.parametrize(
    ("record", "body", "columns", "defaults"),
    SMALLEST_BODIES,
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_store_omits_defaults_and_restores_the_same_ones(
    record: type[Any], body: bytes, columns: tuple[Any, ...], defaults: dict[str, Any]
) -> None:
    form = codec.StoredForm[Any](record)
    restored = form.decode(body, *columns)
    shown = json.loads(codec.encode(restored))
    assert {name: shown[name] for name in defaults} == defaults
    assert form.encode(restored) == body


TABLES: list[Table[Any]] = [CHATS, MESSAGES, TURNS, QUEUED]
FILLED_BY_SQLITE = {"search_id", "position"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
async def test_every_column_of_a_table_has_its_value_from_the_record(
    table: Table[Any], tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "store.sqlite3")
    await store.open()
    await store.aclose()
    connection = sqlite3.connect(tmp_path / "store.sqlite3")
    columns = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table.name})")}
    connection.close()
    assert columns - FILLED_BY_SQLITE == set(table.columns)


@FEW
@given(first=every_field(Chat, id="c1"), second=every_field(Chat, id="c1"), turns=st.data())
def test_a_record_that_is_written_again_replaces_every_column(
    first: Chat, second: Chat, turns: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("stores") / "store.sqlite3"
    fixed = {name: getattr(first, name) for name in ("owner", "kind", "parent_chat_id", "created_at")}
    second = replace(second, archived=not first.archived, pinned=not first.pinned, **fixed)
    turn = turns.draw(every_field(Turn, id="t1", chat_id="c1"))

    async def write_twice() -> None:
        store = SqliteStore(path)
        await store.open()
        try:
            await store.commit(PutChat(first), PutTurn(replace(turn, outcome=None)))
            await store.commit(PutChat(second), PutTurn(turn))
            assert (await store.whole_chat("c1")) == WholeChat(second, (), (turn,), ())
        finally:
            await store.aclose()

    asyncio.run(write_twice())
    connection = sqlite3.connect(path)
    for table, record in ((CHATS, second), (TURNS, turn)):
        row = connection.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}").fetchone()
        assert dict(zip(table.columns, row, strict=True)) == dict(
            zip(table.columns, table.row(record), strict=True)  # type: ignore[arg-type]
        )
    connection.close()


# ------------------------------------------------------------------------------------- a file


@pytest.mark.parametrize(("record", "exported"), IN_A_FILE)
def test_a_record_and_its_exported_model_have_the_same_fields(
    record: type[Any], exported: type[Wire]
) -> None:
    assert names(record, *codec.NOT_IN_A_FILE[record]) == set(exported.model_fields)


@FEW
@given(chats_with_all())
def test_an_exported_chat_comes_back_with_every_field(whole: WholeChat) -> None:
    read = chat_import.read(chat_export.write(whole))
    chat = replace(
        whole.chat,
        owner="",
        last_seq=0,
        reserved_seq=0,
        child_count=0,
        found_tools=(),
        diff_status=None,
    )
    queue = tuple([replace(queued, steers=False) for queued in whole.queue])
    turns = tuple([replace(turn, step=None) for turn in whole.turns])
    assert read == WholeChat(chat, whole.messages, turns, queue)
