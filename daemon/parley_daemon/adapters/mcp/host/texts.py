"""Text of servers, made safe to show and limited in size."""

import re
from collections.abc import Sequence

from parley_daemon.core.agents.mcp import HIDDEN, describe_args, describe_url
from parley_daemon.ports.mcp import McpTarget

MAX_TEXT = 64 * 1024
"""Bytes of the text of a result: the most that any tool's output has."""

_SECRET_LENGTH = 6
"""Shorter values are not looked for: they would hide words that are none."""

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


_PLAIN_NAMES = frozenset(
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "PWD"]
)


def find_secrets(target: McpTarget) -> list[str]:
    """Return what a server was given that it must not tell people, such as the value of `--api-key`."""
    found = [value for name, value in target.environment.items() if name not in _PLAIN_NAMES]
    found += target.headers.values()
    for arg, shown in zip(target.args, describe_args(target.args), strict=True):
        if shown != arg:
            found.append(arg.removeprefix(shown.removesuffix(HIDDEN).rstrip()).strip())
    if target.url is not None and (shown := describe_url(target.url)) != target.url:
        found += [target.url, target.url.partition("?")[2]]
    words = [value.split()[-1] for value in found if value.split()]  # of "Bearer TOKEN"
    return [value for value in {*found, *words} if len(value) >= _SECRET_LENGTH]


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return a text without some values."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[hidden]")
    return text
