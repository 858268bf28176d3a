"""Reads the message and the codes out of the body of an error, in any of the shapes that are in use."""

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import cast

import msgspec

_MAX_BYTES = 8000
_MAX_STATUS = 999  # larger numbers are codes of the provider's own
_MAX_DEPTH = 16
_MAX_PROBLEMS = 100
_MARKUP = re.compile(rb"(?is)^\s*(<!doctype|<html|<\?xml|<head|<body)")
# Linear: each pattern looks at a character once, so that a page of nothing but "<script" is quick, too.
_TITLE = re.compile(r"(?i)<title[^<>]*>([^<]*)</title>")
_DROPPED = re.compile(r"(?is)<(script|style)\b.*?(?:</\1>|\Z)|<head\b.*?(?:</head>|(?=<body)|\Z)|<[^<>]*>")
# A word for an error in the field `type`, `object` or `status` of an object.
_ERROR_KIND = re.compile(r"(?i)^(error|fail(ed|ure)|exception)$|[_.-]?error$")


class ErrorText(msgspec.Struct, frozen=True, gc=False):
    """An error in the provider's words. `label`: its code, type, status and details; `number`: its status."""

    message: str
    label: str = ""
    number: int | None = None

    @property
    def text(self) -> str:
        """Return message and label as one text, to search for words."""
        return f"{self.message} {self.label}"


def read_body(body: bytes) -> ErrorText:
    """Return the error in the body of an HTTP response."""
    body = body.removeprefix(BOM_UTF8)
    if is_page(body):
        return ErrorText(page_text(body))
    text = body[:_MAX_BYTES].decode("utf-8", "replace").strip()
    try:
        error = cast("object", msgspec.json.decode(body))
    except (ValueError, RecursionError):
        return ErrorText(text)
    error_text = read_error(error)
    return (
        error_text
        if error_text.message or not error
        else ErrorText(text, error_text.label, error_text.number)
    )


def read_error(error: object, depth: int = 0) -> ErrorText:
    """Return the error in a JSON value: a whole body, or its field `error`."""
    if isinstance(error, str) or depth > _MAX_DEPTH:
        return ErrorText(error if isinstance(error, str) else "")
    for first in _items(error)[:1]:
        return read_error(first, depth + 1)
    fields = _fields(error)
    if fields.get("error"):
        error_text = read_error(fields["error"], depth + 1)
        label = f"{error_text.label} {_label(fields)}".strip()
        message, beside = error_text.message, _message(fields, depth)
        if isinstance(fields["error"], str) and beside not in message:  # "error" is a code, or a headline
            message = f"{message}: {beside}"
        return ErrorText(message or beside, label, error_text.number or _number(fields))
    for first in _items(fields.get("errors"))[:1]:
        return read_error(first, depth + 1)
    if base := _fields(fields.get("base_resp")):  # MiniMax
        return read_error(base, depth + 1)
    return ErrorText(_message(fields, depth), _label(fields), _number(fields))


def is_error(value: object) -> bool:
    """Return whether a JSON value that came in place of an event or an answer says that the call failed.

    Many servers send their errors with status 200, each in a shape of its own: `{"error": ...}`,
    `{"type": "error"}`, `{"code": 500, "message": ...}`, `{"detail": ...}`, `{"success": false}`.
    """
    for first in _items(value)[:1]:
        return is_error(first)
    fields = _fields(value)
    kinds = [fields.get(name) for name in ("object", "type", "status")]
    if any(isinstance(kind, str) and _ERROR_KIND.search(kind) for kind in kinds):
        return True
    if any(fields.get(name) for name in ("error", "errors", "detail", "error_msg", "error_message")):
        return True
    if fields.get("success") is False or fields.get("ok") is False:
        return True
    # A code without a status of HTTP is a word or a number of the server's own, and not always an error's.
    has_message = any(isinstance(fields.get(name), str) for name in ("message", "msg", "Message"))
    return has_message and _number(fields) is not None


def is_page(body: bytes) -> bool:
    """Return whether a body is a web page (HTML or XML)."""
    return _MARKUP.match(body) is not None


def page_text(body: bytes) -> str:
    """Return the title and text of a web page."""
    page = body[:_MAX_BYTES].decode("utf-8", "replace")
    title = _TITLE.search(page)
    text = " ".join(_DROPPED.sub(" ", page).split())
    headline = title.group(1).strip() if title else ""
    return f"{headline}: {text}" if not text.startswith(headline) else text


def _message(fields: dict[str, object], depth: int = 0) -> str:
    names = (
        "message",
        "Message",  # AWS' gateway
        "detail",
        "msg",
        "reason",
        "error_msg",
        "error_message",
        "errorMessage",
        "error_description",
        "status_msg",
    )
    found = next((fields[name] for name in names if fields.get(name)), "")
    if isinstance(found, str):
        message = found
    elif problems := _items(found):
        message = "; ".join([_validation_message(item) for item in problems[:_MAX_PROBLEMS]])
    else:
        message = read_error(found, depth + 1).message
    raw = _fields(fields.get("metadata")).get("raw")  # a router quotes its upstream provider
    if isinstance(raw, dict):
        raw = read_error(cast("object", raw), depth + 1).message
    return f"{message}: {raw}" if isinstance(raw, str) and raw else message


def _validation_message(item: object) -> str:
    """Return a validator's message about one field, without the input, which may be a whole prompt."""
    fields = _fields(item)
    where = ".".join([str(segment) for segment in _items(fields.get("loc"))])
    return f"{where}: {fields.get('msg', '')}".removeprefix(": ")


def _label(fields: dict[str, object]) -> str:
    names = ("code", "type", "status", "error_type", "error_code", "errorCode", "errorType")
    named = [fields.get(name) for name in names]
    details = fields.get("details")
    named.append(_fields(details).get("error_code"))
    codes = [
        str(one) for one in named if isinstance(one, str) or (isinstance(one, int) and one > _MAX_STATUS)
    ]
    return " ".join([*codes, *_detail_codes(details)])


def _detail_codes(details: object) -> Iterator[str]:
    """Yield the codes in Google's error details: the reason, the exceeded quotas, the retry delay."""
    for detail in map(_fields, _items(details)):
        if isinstance(reason := detail.get("reason"), str):
            yield reason
        if isinstance(delay := detail.get("retryDelay"), str):
            yield f"retry in {delay}"
        for violation in map(_fields, _items(detail.get("violations"))):
            if isinstance(quota := violation.get("quotaId"), str):
                yield quota


def _number(fields: dict[str, object]) -> int | None:
    for name in ("code", "status", "status_code"):
        value = fields.get(name)
        number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{3}", value) else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return None


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
