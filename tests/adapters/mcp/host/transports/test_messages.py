"""Messages that are not quite JSON: what can be read of them, and what they answer."""

import json

import pytest

pytest.importorskip("mcp_types", reason="the extra mcp is not installed")

from parley_daemon.adapters.mcp.host.transports.messages import read_message
from parley_daemon.adapters.mcp.host.transports.surrogates import replace_halves


def answer(text: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":7,"result":{"text":"' + text + b'"}}'


def read(line: bytes) -> dict[str, object]:
    message = read_message(line)
    assert message is not None
    return message.message.model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (rb"a\ud83d", "a\ufffd"),
        (rb"\udE00b", "\ufffdb"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\\ud83d", r"\ud83d"),
        (rb"\\\ud83d\n", "\\\ufffd\n"),
        (rb"\ud83d\u0041", "\ufffdA"),
        (b"caf\xe9", "caf\ufffd"),
        ("naïve 😀".encode(), "naïve 😀"),
    ],
)
def test_characters_that_are_none_are_replaced(text: bytes, meant: str) -> None:
    assert read(answer(text))["result"] == {"text": meant}


def test_pairs_stay_as_they_are() -> None:
    text = json.dumps("😀 \\ud83d \\").encode()
    assert replace_halves(text) == text


def test_an_answer_that_cannot_be_read_is_an_error() -> None:
    deep = b'{"jsonrpc":"2.0","id":7,"result":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert read(deep)["id"] == 7
    assert "error" in read(deep)


def test_what_answers_nothing_is_no_message() -> None:
    for line in (b"listening on 80", b'{"level":30,"id":7}', b'{"jsonrpc":"2.0","id":7,"method":5}', b"[]"):
        assert read_message(line) is None
