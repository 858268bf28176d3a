"""The events of a responses stream: the few fields that matter, decoded straight into one struct.

What comes rarely or in several shapes is `Any` here and read by `lenient` where it is used: an odd field must
not spoil the answer.
"""

from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import lenient, part_of, whole
from parley_daemon.adapters.providers.shared.openai_answers import (
    InputDetails,
    OutputDetails,
    Priced,
    dollars,
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


class UsageBody(Priced):
    """Tokens of the call."""

    input_tokens: Any = None
    output_tokens: Any = None
    total_tokens: Any = None
    input_tokens_details: Any = None
    output_tokens_details: Any = None


decode_event = msgspec.json.Decoder(Event).decode


def usage_of(value: object) -> Usage | None:
    """Return the usage in this shape; None when it says nothing."""
    body = lenient(value, UsageBody)
    if body is None:
        return None
    read = part_of(body.input_tokens_details, InputDetails)
    written = part_of(body.output_tokens_details, OutputDetails)
    usage = Usage(
        input_tokens=whole(body.input_tokens),
        output_tokens=whole(body.output_tokens),
        total_tokens=whole(body.total_tokens),
        reasoning_tokens=whole(written.reasoning_tokens),
        cache_creation_tokens=whole(read.cache_write_tokens),
        cache_read_tokens=whole(read.cached_tokens),
        cost_usd=dollars(body),
    )
    return None if usage == Usage() else usage
