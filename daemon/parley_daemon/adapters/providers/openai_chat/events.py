"""The events of a chat-completions stream: the few fields that matter, decoded straight into structs.

A field that servers fill in many ways, and rarely, is `Any` here. It is read by `convert_or_none` where it is
used, so that an unexpected shape does not spoil the answer.
Source: https://platform.openai.com/docs/api-reference/chat-streaming
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


class Function(msgspec.Struct, gc=False):
    """A tool call's function, or more of it. `arguments` is JSON text, or the object itself."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolDelta(msgspec.Struct, gc=False):
    """More of a tool call."""

    index: Any = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """More of an answer, or in the batch form the whole of it."""

    content: str | list[Any] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    tool_calls: list[ToolDelta] | None = None
    refusal: str | None = None
    annotations: Any = None
    images: Any = None
    function_call: Any = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers; only the first one is ever asked for. `message` stands in the batch form.

    `error` stands beside the finish_reason of the same name.
    """

    index: int | None = None
    delta: Delta | None = None
    finish_reason: str | None = None
    message: Delta | None = None
    error: Any = None


class Event(msgspec.Struct, gc=False):
    """One event of the stream, or the body of a batch answer."""

    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None
    citations: Any = None


class UsageBody(CostFields):
    """Tokens of the call; the three at the end are other makers' names for what the details hold."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None
    prompt_cache_hit_tokens: Any = None
    cache_creation_input_tokens: Any = None
    reasoning_tokens: Any = None


class ContentItem(msgspec.Struct):
    """An item of a content list or of `reasoning_details`."""

    type: str = "text"
    text: str | None = None
    thinking: "str | list[ContentItem] | None" = None
    reasoning: str | None = None
    summary: str | None = None
    refusal: str | None = None
    signature: str | None = None

    @property
    def thought(self) -> str | None:
        """Return the reasoning in this item; None when it is no reasoning."""
        if isinstance(self.thinking, list):
            return "".join([item.text or "" for item in self.thinking])
        if self.type.startswith(("thinking", "reasoning")):
            return self.thinking or self.text or self.reasoning or self.summary or ""
        return self.thinking or self.reasoning


decode_event = msgspec.json.Decoder(Event).decode


def read_usage(value: object) -> Usage | None:
    """Return the usage in this shape; None when it says nothing. Reasoning is a part of the output.

    xAI counts it separately: then the total is the sum of input, output and reasoning.
    """
    body = convert_or_none(value, UsageBody)
    if body is None:
        return None
    read = convert_or_default(body.prompt_tokens_details, InputDetails)
    written = convert_or_default(body.completion_tokens_details, OutputDetails)
    input_tokens, output_tokens, total_tokens = map(
        read_count, (body.prompt_tokens, body.completion_tokens, body.total_tokens)
    )
    reasoning_tokens = read_count(written.reasoning_tokens, body.reasoning_tokens)
    if input_tokens is not None and output_tokens is not None:
        if reasoning_tokens and total_tokens == input_tokens + output_tokens + reasoning_tokens:
            output_tokens += reasoning_tokens
        total_tokens = input_tokens + output_tokens if total_tokens is None else total_tokens
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_tokens,
        reasoning_tokens=reasoning_tokens,
        cache_creation_tokens=read_count(read.cache_write_tokens, body.cache_creation_input_tokens),
        cache_read_tokens=read_count(read.cached_tokens, body.prompt_cache_hit_tokens),
        cost_usd=read_cost(body),
    )
    return None if usage == Usage() else usage
