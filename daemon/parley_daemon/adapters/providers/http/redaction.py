"""Removes secrets from texts that are shown or stored."""

import json
import re
from collections.abc import Iterable
from html import escape

from parley_daemon.adapters.providers.http.lenient_json import replace_surrogates

REMOVED = "[removed]"
DETAIL_LIMIT = 500
_MIN_SECRET_LENGTH = 6


_END = re.compile(r"[.!?](?= [^a-z])")


def _secret_shape(pattern: str, replacement: str = REMOVED) -> tuple[re.Pattern[str], str]:
    return re.compile(pattern), replacement


_SHAPES = (
    _secret_shape(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{6,}", rf"\1 {REMOVED}"),
    _secret_shape(r"(?i)\b((?:x-)?api[-_]key[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+", rf"\1{REMOVED}"),
    _secret_shape(
        r"(?i)([?&](?:api[-_]?key|key|token|access_token|sig|signature|secret)=)[^&\s\"'<>]+", rf"\1{REMOVED}"
    ),
    _secret_shape(r"(?i)(\b[a-z][a-z0-9+.-]{0,30}://)[^/\s@\"'<>]+@", rf"\1{REMOVED}@"),
    # Keys of well-known makers, also as those quote them back: sk-ab**********yz.
    _secret_shape(r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|gho|pplx|nvapi)[-_][\w*.-]{6,}"),
    _secret_shape(r"\bAIza[\w-]{16,}"),
)


def _char_pattern(character: str) -> str:
    """Return a pattern for one character of a secret: plain, and escaped as in JSON, URLs and HTML.

    Nested JSON and JSON with escaped slashes match, too. The number of backslashes is bounded, to be quick.
    """
    if character.isascii() and character.isalnum():
        return character
    percent = "".join([f"%(?:25)?{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")])
    code = ord(character)
    forms = (
        character,
        json.dumps(character)[1:-1],
        f"\\u{code:04x}",
        escape(character),
        f"&#x{code:x};",
        f"&#{code};",
    )
    wanted = "|".join([*map(re.escape, forms), percent])
    return rf"\\{{0,3}}(?i:{wanted})"


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without these secrets, in any escaped form, and without what looks like a secret."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be the beginning of another
        if len(secret) >= _MIN_SECRET_LENGTH:
            text = re.sub("".join(map(_char_pattern, secret)), REMOVED, text)
    for shape, replacement in _SHAPES:
        text = shape.sub(replacement, text)
    return text


def excerpt(text: str, secrets: Iterable[str] = (), *, lines: int = 12, limit: int = 1000) -> str:
    """Return the first lines of a text without secrets; "…" marks where it is truncated."""
    redacted = redact(replace_surrogates(text[: 16 * limit]), secrets).strip()
    truncated = "\n".join(redacted.splitlines()[:lines])[:limit]
    return truncated if truncated == redacted and len(text) <= 16 * limit else f"{truncated.rstrip()} …"


def quote(text: str, secrets: Iterable[str] = (), limit: int = DETAIL_LIMIT) -> str:
    """Return a text without secrets, on one line, truncated to `limit` characters."""
    # Redacted before it is truncated, or half a key would stay. The rest of a huge text is ignored.
    redacted = " ".join(redact(replace_surrogates(text[: 16 * limit]), secrets).split())
    return redacted if len(redacted) <= limit else redacted[: limit - 1] + "…"


def first_sentences(text: str, secrets: Iterable[str] = (), limit: int = 240) -> str:
    """Return the first sentences of a text, without secrets, on one line; "" when it is data (JSON)."""
    redacted = quote(text, secrets, limit=4 * limit)
    if not redacted or (redacted[0] in "[{" and not redacted.startswith(REMOVED)):
        return ""
    if len(redacted) > limit:
        ends = [found.end() for found in _END.finditer(redacted, 0, limit)]
        redacted = (
            redacted[: ends[-1]] if ends else (redacted[:limit].rpartition(" ")[0] or redacted[:limit]) + " …"
        )
    return redacted if redacted[-1] in ".!?…" else f"{redacted}."
