"""What providers write into the body of an error, whatever the shape: OpenAI's, a plain string, a web page.

Knows shapes only, not what an error means.
"""

import re
from collections.abc import Iterator
from typing import cast

import msgspec

_LONGEST = 8000
_MARKUP = re.compile(rb"(?is)^\s*(<!doctype|<html|<\?xml|<head|<body)")
# Each of these looks at a character once, or a page of nothing but "<script" would take long.
_TITLE = re.compile(r"(?i)<title[^<>]*>([^<]*)</title>")
_DROPPED = re.compile(r"(?is)<(script|style)\b.*?(?:</\1>|\Z)|<head\b.*?(?:</head>|(?=<body)|\Z)|<[^<>]*>")


class ErrorText(msgspec.Struct, frozen=True, gc=False):
    """An error in the provider's words; `label` is its code, type, status and details in one."""

    message: str
    label: str = ""
    number: int | None = None

    @property
    def text(self) -> str:
        """Return message and label, to search for words in."""
        return f"{self.message} {self.label}"


def read_body(body: bytes) -> ErrorText:
    """Return what the body of an HTTP error says."""
    if is_page(body):
        return ErrorText(page_text(body))
    text = body[:_LONGEST].decode("utf-8", "replace").strip()
    try:
        error = cast("object", msgspec.json.decode(body))
    except (ValueError, RecursionError):
        return ErrorText(text)
    said = read_error(error)
    return said if said.message or not error else ErrorText(text, said.label, said.number)


def read_error(error: object) -> ErrorText:
    """Return what an error says that is given as JSON: the body, or what stands in its `error`."""
    if isinstance(error, str):
        return ErrorText(error)
    for first in _items(error)[:1]:
        return read_error(first)
    fields = _fields(error)
    if fields.get("error"):
        said = read_error(fields["error"])
        label = f"{said.label} {_label(fields)}".strip()
        return ErrorText(said.message or _message(fields), label, said.number or _number(fields))
    for first in _items(fields.get("errors"))[:1]:
        return read_error(first)
    return ErrorText(_message(fields), _label(fields), _number(fields))


def is_page(body: bytes) -> bool:
    """Return whether this is a web page and not an answer of a program."""
    return _MARKUP.match(body) is not None


def page_text(body: bytes) -> str:
    """Return the title and text of a web page."""
    page = body[:_LONGEST].decode("utf-8", "replace")
    title = _TITLE.search(page)
    text = " ".join(_DROPPED.sub(" ", page).split())
    return f"{title.group(1).strip()}: {text}" if title else text


def _message(fields: dict[str, object]) -> str:
    names = ("message", "Message", "detail", "msg", "reason")  # in capitals where AWS' gateway speaks
    found = next((fields[name] for name in names if fields.get(name)), "")
    if isinstance(found, str):
        message = found
    elif complaints := _items(found):
        message = "; ".join([_complaint(item) for item in complaints])
    else:
        message = read_error(found).message
    raw = _fields(fields.get("metadata")).get("raw")  # a router quotes whom it asked
    return f"{message}: {raw}" if isinstance(raw, str) else message


def _complaint(item: object) -> str:
    """Return what a validator says of one field, without the input that it repeats: a whole prompt, maybe."""
    fields = _fields(item)
    where = ".".join([str(step) for step in _items(fields.get("loc"))])
    return f"{where}: {fields.get('msg', '')}".removeprefix(": ")


def _label(fields: dict[str, object]) -> str:
    named = [fields.get(name) for name in ("code", "type", "status", "error_type")]
    details = fields.get("details")
    named.append(_fields(details).get("error_code"))
    return " ".join([*[name for name in named if isinstance(name, str)], *_explained(details)])


def _explained(details: object) -> Iterator[str]:
    """Yield what Google's error details say in a word: the reason, the quotas passed, when to come back."""
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
