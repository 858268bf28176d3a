"""The events of Anthropic's messages stream: the few fields that matter, decoded straight into structs.

A field that comes once per answer, or whose shape varies, is `Any` here. It is read by `convert_or_none`
where it is used, so that an unexpected shape does not spoil the answer.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import (
    convert_or_default,
    convert_or_none,
    read_count,
    replace_surrogates,
)
from parley_daemon.core.parts import Source
from parley_daemon.core.records import Usage


class Delta(msgspec.Struct, gc=False):
    """More of a content block; of the message, why it stopped."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_details: Any = None


class Event(msgspec.Struct, gc=False):
    """One event of the stream, or a whole message, which has the fields at the end."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: Any = None
    message: Any = None
    usage: Any = None
    error: Any = None
    content: list[Any] | None = None
    stop_reason: str | None = None
    stop_details: Any = None


class Block(msgspec.Struct):
    """A content block as it begins, or the whole of it. `content` is a server tool's result."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    content: Any = None
    citations: list[Any] | None = None


class Start(msgspec.Struct):
    """What the first event says of the message."""

    usage: Any = None


class StopDetails(msgspec.Struct):
    """Why the answer was stopped, in words."""

    explanation: str | None = None


class OutputDetails(msgspec.Struct):
    """What output tokens were spent on."""

    thinking_tokens: Any = None


class UsageBody(msgspec.Struct):
    """Tokens so far. `input_tokens` are those that neither came from the cache nor went into it."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None
    output_tokens_details: Any = None


class Citation(msgspec.Struct):
    """Where a sentence is from: a page of the web, a search result, or a place in a document sent along."""

    type: str = ""
    url: str | None = None
    source: str | None = None
    title: str | None = None
    cited_text: str | None = None
    document_index: int | None = None
    document_title: str | None = None
    start_char_index: int | None = None
    end_char_index: int | None = None
    start_page_number: int | None = None
    end_page_number: int | None = None
    start_block_index: int | None = None


decode_event = msgspec.json.Decoder(Event).decode


def read_source(value: object) -> Source | None:
    """Return what a citation or a web search's result names; None when it names nothing.

    A place in a document that was sent along has an address of its own: `document:0#page=3`, `#char=10,20`.
    """
    cited = convert_or_none(value, Citation)
    if cited is None:
        return None
    url, title = cited.url or cited.source, cited.title
    if not url:
        if cited.document_index is None:
            return None
        url = f"document:{cited.document_index}{_fragment(cited)}"
        title = cited.document_title or f"Document {cited.document_index + 1}"
        if cited.start_page_number is not None:
            title = f"{title}, page {cited.start_page_number}"
    text = None if cited.cited_text is None else replace_surrogates(cited.cited_text)
    return Source("", replace_surrogates(url), replace_surrogates(title or url), text)


def _fragment(cited: Citation) -> str:
    if cited.start_page_number is not None:
        return f"#page={cited.start_page_number}"
    if cited.start_char_index is not None:
        return f"#char={cited.start_char_index},{cited.end_char_index}"
    return "" if cited.start_block_index is None else f"#block={cited.start_block_index}"


def update_usage(value: object, before: Usage | None) -> Usage | None:
    """Return the usage in this shape, merged with the counts before it. Counts only grow.

    Anthropic counts cached input apart; in a Usage it is a part of the input.
    """
    body = convert_or_none(value, UsageBody)
    if body is None:
        return before
    previous = before or Usage()
    created = _larger(previous.cache_creation_tokens, body.cache_creation_input_tokens)
    read = _larger(previous.cache_read_tokens, body.cache_read_input_tokens)
    uncached_input = previous.input_tokens
    if uncached_input is not None:
        uncached_input -= (previous.cache_creation_tokens or 0) + (previous.cache_read_tokens or 0)
    uncached_input = _larger(uncached_input, body.input_tokens)
    input_tokens = None if uncached_input is None else uncached_input + (created or 0) + (read or 0)
    output_tokens = _larger(previous.output_tokens, body.output_tokens)
    details = convert_or_default(body.output_tokens_details, OutputDetails)
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=None if input_tokens is None or output_tokens is None else input_tokens + output_tokens,
        reasoning_tokens=_larger(previous.reasoning_tokens, details.thinking_tokens),
        cache_creation_tokens=created,
        cache_read_tokens=read,
    )
    return None if usage == Usage() else usage


def _larger(before: int | None, value: object) -> int | None:
    now = read_count(value)
    return before if now is None else max(now, before or 0)
