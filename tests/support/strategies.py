"""Hypothesis strategies for what models stream and for the histories that come of it."""

from hypothesis import strategies as st

from parley_daemon.core.chats import Message, Role
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
from tests.support.records import NOW

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
