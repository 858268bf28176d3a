"""Text of servers, made safe to show and limited in size."""

import re
from collections.abc import Sequence

MAX_TEXT = 64 * 1024
"""Bytes of the text of a result: the most that any tool's output has."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]+")
"""What changes how a text is shown, or is seen by models alone: controls, marks that reorder, and tags."""


def one_line(value: object, limit: int) -> str:
    """Return a text on one line, without control characters, of at most `limit` characters."""
    text = " ".join(_CONTROLS.sub(" ", str(value)).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def cut_text(value: object, limit: int) -> str | None:
    """Return the beginning of a text, without control characters; None if it is none."""
    if not isinstance(value, str):
        return None
    value = _CONTROLS.sub(" ", value[: 2 * limit].replace("\r\n", "\n"))
    return value if len(value) <= limit else f"{value[: limit - 1]}…"


def head_and_tail(text: str, limit: int) -> str:
    """Return a text of at most about `limit` bytes: the middle of a longer one is left out."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    head = data[: limit // 2].decode("utf-8", "ignore")
    tail = data[-(limit // 2) :].decode("utf-8", "ignore")
    omitted = len(data) - len(head.encode("utf-8")) - len(tail.encode("utf-8"))
    return f"{head}\n[{omitted:,} bytes are not shown here]\n{tail}"


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return a text without some values."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    return text
