"""The events of a responses stream: the few fields that matter, decoded straight into one struct.

A field that is rare or comes in several shapes is `Any` here. It is read by `convert_or_none` where it is
used, so that an unexpected shape does not spoil the answer.
Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import convert_or_default, convert_or_none, read_count
from parley_daemon.adapters.providers.shared.openai_answers import (
    CostFields,
    InputDetails,
    OutputDetails,
    read_cost,
)
from parley_daemon.core.records import Usage


class Event(msgspec.Struct, gc=False):
    """Any event. Which fields it has depends on its type; `delta` is text, the indexes count from 0."""

    type: str = ""
    delta: Any = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    item_id: str | None = None
    item: Any = None
    arguments: Any = None
    annotation: Any = None
    response: Any = None
    error: Any = None


class Content(msgspec.Struct):
    """A part of an item: text of an answer, a refusal, a summary, or a thought."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: Any = None


class Item(msgspec.Struct):
    """An item of an answer: a message, reasoning, a call of a function, or an image, begun or whole.

    `arguments` is JSON text, or with some servers the object itself; `result` an image in base64.
    """

    type: str | None = None
    id: str | None = None
    status: Any = None
    content: list[Content] | None = None
    summary: list[Content] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    result: Any = None
    output_format: str | None = None


class Incomplete(msgspec.Struct):
    """Why a response ended early."""

    reason: str | None = None


class Response(msgspec.Struct):
    """A response as a whole: the body of a batch answer, and what the last event of a stream holds."""

    object: str | None = None
    status: str | None = None
    output: list[Any] | None = None
    incomplete_details: Any = None
    usage: Any = None
    error: Any = None


class UsageBody(CostFields):
    """Tokens of the call."""

    input_tokens: Any = None
    output_tokens: Any = None
    total_tokens: Any = None
    input_tokens_details: Any = None
    output_tokens_details: Any = None


decode_event = msgspec.json.Decoder(Event).decode


def read_usage(value: object) -> Usage | None:
    """Return the usage in this shape; None when it says nothing."""
    body = convert_or_none(value, UsageBody)
    if body is None:
        return None
    read = convert_or_default(body.input_tokens_details, InputDetails)
    written = convert_or_default(body.output_tokens_details, OutputDetails)
    usage = Usage(
        input_tokens=read_count(body.input_tokens),
        output_tokens=read_count(body.output_tokens),
        total_tokens=read_count(body.total_tokens),
        reasoning_tokens=read_count(written.reasoning_tokens),
        cache_creation_tokens=read_count(read.cache_write_tokens),
        cache_read_tokens=read_count(read.cached_tokens),
        cost_usd=read_cost(body),
    )
    return None if usage == Usage() else usage
