"""Hypothesis strategies for what models stream, for the histories that come of it, and for whole chats."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from parley_daemon.core.parts import (
    File,
    Part,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
)
from parley_daemon.core.records import (
    Chat,
    Context,
    Failure,
    ForkOrigin,
    Message,
    ModelSettings,
    QueuedMessage,
    Role,
    Status,
    Timeouts,
    Turn,
    Usage,
)
from parley_daemon.ports.store import WholeChat
from tests.support.engine.records import NOW

SOME_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
CALL_IDS = st.sampled_from(["a", "b", "c"])
ARGS = st.sampled_from([{}, {"path": "x"}, [1, None], "text"])
TITLES = st.none() | st.sampled_from(["Plan", "Check"])

texts = st.builds(Text, SOME_TEXT)
thoughts = st.builds(Reasoning, SOME_TEXT, TITLES, st.none() | st.sampled_from(["sig1", "sig2"]))
calls = st.builds(ToolCall, CALL_IDS, st.just("run"), ARGS)
call_pieces = st.builds(ToolCallPiece, CALL_IDS, st.just("run"), SOME_TEXT)
results = st.builds(ToolResult, CALL_IDS, st.just("run"), ARGS, st.booleans(), st.just("ok"))
sources = st.builds(Source, st.just("1"), st.just("https://example.org"), SOME_TEXT)
files = st.builds(File, st.just("image/png"), st.just("aGk="))

pieces: st.SearchStrategy[Piece] = st.one_of(texts, thoughts, call_pieces, calls, sources, files)
answer_parts: st.SearchStrategy[Part] = st.one_of(texts, thoughts, calls, sources)
question_parts: st.SearchStrategy[Part] = st.one_of(texts, files)


def blank(part: Part) -> bool:
    """Whether a part says nothing to a model."""
    return isinstance(part, Text) and not part.text.strip()


@st.composite
def messages(draw: st.DrawFn, id: int = 1, chat_id: str = "c1") -> Message:
    """Return one message of any role, as cut and as odd as histories get."""
    role: Role = draw(st.sampled_from(["user", "assistant", "assistant", "tool", "system"]))
    of_role: dict[Role, st.SearchStrategy[Part]] = {
        "user": question_parts,
        "assistant": answer_parts,
        "tool": results,
        "system": texts,
    }
    content = tuple(draw(st.lists(of_role[role], min_size=1, max_size=4)))
    return Message(id, chat_id, id - 1 or None, "t1", role, content, NOW, complete=draw(st.booleans()))


@st.composite
def histories(draw: st.DrawFn, max_size: int = 10) -> list[Message]:
    """Return a history cut anywhere: calls without results, results without calls, empty messages."""
    size = draw(st.integers(0, max_size))
    return [draw(messages(id)) for id in range(1, size + 1)]


# ------------------------------------------------------------------------- whole chats

strings = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
some_strings = st.none() | strings
some_names = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
counts = st.none() | st.integers(0, 2**53 - 1)
any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9) | strings,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
    max_leaves=6,
)
milliseconds = st.none() | st.integers(1, 10**6)

usages = st.builds(Usage, *[counts] * 7, st.none() | st.floats(0, 1e6))
failures = st.builds(
    Failure,
    st.sampled_from(["rate_limit", "daemon_lost", "internal"]),
    strings,
    some_strings,
    some_strings,
    counts,
    st.booleans(),
    counts,
)
model_settings = st.builds(
    ModelSettings,
    max_output_tokens=milliseconds,
    temperature=st.none() | st.floats(0, 2),
    stop=st.none() | st.lists(st.just("END"), max_size=2).map(tuple),
    seed=st.none() | st.integers(-5, 5),
    output_schema=st.none() | st.just({"type": "object"}),
    timeouts=st.builds(Timeouts, *[milliseconds] * 4),
    fallback_models=st.none() | st.lists(st.sampled_from(["a:b", "c:d"]), max_size=2).map(tuple),
    local_only=st.none() | st.booleans(),
    provider_options=st.sampled_from(
        [{}, {"openai": {"user": "me"}}, {"openaiCompat": {"extraBody": {"top_a": [0.5, {"b": None}]}}}]
    ),
)
sent_parts: st.SearchStrategy[Part] = st.one_of(
    texts,
    thoughts,
    st.builds(ToolCall, CALL_IDS, strings, any_json),
    st.builds(ToolResult, CALL_IDS, strings, any_json, st.booleans(), st.sampled_from(["ok", "denied"])),
    st.builds(Source, strings, strings, strings, some_strings, counts, counts, st.none() | st.floats(0, 1)),
    files,
)
sent_contents = st.lists(sent_parts, max_size=3).map(tuple)
received_files = st.builds(File, strings, st.none(), strings, some_strings)
received_contents = st.lists(sent_parts | received_files, max_size=3).map(tuple)
times = st.integers(0, 999).map(lambda number: f"2026-01-02T03:04:05.{number:03}Z")


@st.composite
def whole_chats(draw: st.DrawFn, id: str = "c1") -> WholeChat:
    """Return a chat at rest with a tree of messages, turns that are over, and a queue."""
    ids = sorted(draw(st.sets(st.integers(1, 30), max_size=8)))
    messages = tuple([_message(draw, id, number, ids[:at]) for at, number in enumerate(ids)])
    turn_ids = sorted({one.turn_id for one in messages if one.turn_id is not None} if messages else [])
    turns = tuple([_turn(draw, id, turn_id, ids) for turn_id in turn_ids if draw(st.booleans())])
    chat = Chat(
        id=id,
        owner="local",
        created_at=draw(times),
        updated_at=draw(times),
        kind=draw(st.sampled_from(["chat", "agent"])),
        title=draw(some_strings),
        title_is_automatic=draw(st.booleans()),
        status=draw(st.sampled_from([Status.WAITING, Status.COMPLETED, Status.ERROR])),
        last_error=draw(st.none() | failures),
        model=draw(some_names),
        system_prompt=draw(some_strings),
        settings=draw(model_settings),
        context=draw(st.builds(Context, *[st.lists(strings, max_size=2).map(tuple)] * 4)),
        forked_from=draw(st.none() | st.builds(ForkOrigin, st.sampled_from(["c0", "c9"]), st.integers(1, 9))),
        archived=draw(st.booleans()),
        pinned=draw(st.booleans()),
        metadata=draw(st.dictionaries(strings, any_json, max_size=2)),
        usage=draw(usages),
        last_message_id=max([*ids, 0]) + draw(st.integers(0, 2)),
        leaf_id=draw(st.none() | st.sampled_from(ids)) if ids else None,
    )
    queue = [_queued(draw, id, number) for number in range(draw(st.integers(0, 2)))]
    return WholeChat(chat, messages, turns, tuple(queue))


def _message(draw: st.DrawFn, chat_id: str, id: int, before: Sequence[int]) -> Message:
    role: Role = draw(st.sampled_from(["user", "assistant", "tool", "system"]))
    return Message(
        id=id,
        chat_id=chat_id,
        parent_id=draw(st.none() | st.sampled_from(before)) if before else None,
        turn_id=draw(st.none() | st.sampled_from(["t1", "t2", "t3"])),
        role=role,
        content=draw(sent_contents if role == "user" else received_contents),
        created_at=draw(times),
        model=draw(some_names),
        usage=draw(st.none() | usages),
        complete=draw(st.booleans()),
        client_message_id=draw(st.sampled_from([None, f"client {id}"])),
        origin=draw(some_strings),
    )


def _turn(draw: st.DrawFn, chat_id: str, id: str, messages: Sequence[int]) -> Turn:
    return Turn(
        id=id,
        chat_id=chat_id,
        user_message_id=draw(st.sampled_from(messages)),
        accepted_at=draw(times),
        model=draw(some_names),
        settings=draw(model_settings),
        ended_at=draw(times),
        outcome=draw(st.sampled_from(["completed", "interrupted", "failed"])),
        stop_reason=draw(some_strings),
        usage=draw(st.none() | usages),
        error=draw(st.none() | failures),
        output=draw(any_json),
    )


def _queued(draw: st.DrawFn, chat_id: str, number: int) -> QueuedMessage:
    return QueuedMessage(
        id=f"q{number}",
        chat_id=chat_id,
        turn_id=f"queued turn {number}",
        content=draw(sent_contents),
        created_at=draw(times),
        model=draw(some_names),
        settings=draw(model_settings),
        client_message_id=draw(st.sampled_from([None, f"queued {number}"])),
        origin=draw(some_strings),
    )
