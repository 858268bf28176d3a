"""Records survive their encoding in rows."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.adapters.sqlite import codec
from parley_daemon.core.parts import File, Piece, Reasoning, Source, Text, ToolCall, ToolCallPiece, ToolResult
from parley_daemon.core.records import Chat, Failure, ModelSettings, Timeouts, Turn, Usage
from tests.support.engine.records import a_message, a_queued

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


pieces = st.one_of(
    st.builds(Text, st.text()),
    st.builds(Reasoning, st.text(), st.none() | st.text(), st.none() | st.text()),
    st.builds(ToolCall, st.text(), st.text(), json_values),
    st.builds(ToolCallPiece, st.text(), st.text(), st.text()),
    st.builds(ToolResult, st.text(), st.text(), json_values, st.booleans(), st.just("failed")),
    st.builds(Source, st.text(), st.text(), st.text(), score=st.none() | st.floats(0, 1)),
    st.builds(File, st.text(), st.none() | st.text(), st.none() | st.text()),
)


@given(pieces)
def test_every_piece_survives_its_encoding(piece: Piece) -> None:
    assert codec.decode_piece(codec.encode_piece(piece)) == piece


@given(st.builds(Chat, id=st.text(), owner=st.text(), created_at=st.text(), updated_at=st.text()))
def test_every_chat_survives_its_encoding(chat: Chat) -> None:
    full = replace(
        chat,
        last_error=Failure("network", "Nobody answers."),
        settings=ModelSettings(
            stop=("a",), timeouts=Timeouts(idle_ms=5), provider_options={"openaiCompat": {"user": "me"}}
        ),
    )
    assert codec.decode_chat(codec.encode_chat(full)) == full


def test_an_older_row_without_newer_fields_takes_their_defaults() -> None:
    row = b'{"id":"t","chat_id":"c","user_message_id":1,"accepted_at":"now","from_the_future":true}'
    assert codec.decode_turn(row) == Turn("t", "c", 1, "now")


def test_messages_and_queued_messages_survive_their_encoding() -> None:
    message = a_message(2, "x", usage=Usage(input_tokens=1, cost_usd=0.5), complete=False)
    row = ("c1", 2, 1, "t1", "user", None, codec.encode_message(message), "2")
    assert codec.read_message(row) == message
    queued = a_queued("q", settings=ModelSettings(temperature=0.5), model="a:b")
    assert codec.read_queued(("q", "c1", None, codec.encode_queued(queued))) == queued
