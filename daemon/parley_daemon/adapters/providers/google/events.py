"""The events of a generateContent stream: the few fields that matter, decoded straight into structs.

A field that is rare and comes in several shapes is `Any` here. It is read by `convert_or_none` where it is
used, so that an unexpected shape does not spoil the answer.
Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import convert_or_none, read_count, replace_surrogates
from parley_daemon.core.parts import Source
from parley_daemon.core.records import Usage


class FunctionCall(msgspec.Struct, gc=False):
    """A whole tool call. Older models give it no id."""

    name: str | None = None
    id: str | None = None
    args: Any = None


class Part(msgspec.Struct, gc=False, rename="camel"):
    """A part of an answer, or of a thought. A signature may stand beside any kind of content."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Any = None
    file_data: Any = None


class Content(msgspec.Struct, gc=False):
    """The parts of one candidate, or the next of them."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, gc=False, rename="camel"):
    """One of the answers; only the first one is ever asked for."""

    content: Content | None = None
    index: int | None = None
    finish_reason: str | None = None
    finish_message: Any = None
    grounding_metadata: Any = None
    citation_metadata: Any = None


class UsageBody(msgspec.Struct, gc=False, rename="camel"):
    """Tokens of the call so far."""

    prompt_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    total_token_count: Any = None
    cached_content_token_count: Any = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    """Why there is no answer."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class Event(msgspec.Struct, gc=False, rename="camel"):
    """One event of the stream, or the body of a batch answer: a GenerateContentResponse."""

    candidates: list[Candidate] | None = None
    usage_metadata: UsageBody | None = None
    prompt_feedback: PromptFeedback | None = None
    error: Any = None


class Blob(msgspec.Struct, rename="camel"):
    """A file in an answer: its bytes in base64, or where it is."""

    mime_type: str = "application/octet-stream"
    data: str | None = None
    file_uri: str | None = None
    display_name: str | None = None


class Cited(msgspec.Struct, rename="camel"):
    """What a sentence of the answer rests on: a web page, a place, a document, an image."""

    uri: str | None = None
    title: str | None = None
    text: str | None = None
    source_uri: str | None = None

    def source(self) -> Source | None:
        """Return it as a source; None when it has no address."""
        url = self.uri or self.source_uri
        if not url:
            return None
        title, text = self.title or url, self.text and replace_surrogates(self.text)
        return Source("", replace_surrogates(url), replace_surrogates(title), text or None)


class GroundingChunk(msgspec.Struct, rename="camel"):
    """A source of the one kind or the other."""

    web: Cited | None = None
    retrieved_context: Cited | None = None
    maps: Cited | None = None
    image: Cited | None = None


class Grounding(msgspec.Struct, rename="camel"):
    """What the answer was grounded on."""

    grounding_chunks: list[GroundingChunk] | None = None


class Citations(msgspec.Struct, rename="camel"):
    """What the answer quotes. The second name is the Gemini API's, the first Vertex AI's."""

    citations: list[Cited] | None = None
    citation_sources: list[Cited] | None = None


decode_event = msgspec.json.Decoder(Event).decode


def read_citations(candidate: Candidate) -> list[Cited]:
    """Return all that a candidate names as its sources, in order."""
    grounding = convert_or_none(candidate.grounding_metadata or {}, Grounding) or Grounding()
    quoted = convert_or_none(candidate.citation_metadata or {}, Citations) or Citations()
    chunks = [
        chunk.web or chunk.retrieved_context or chunk.maps or chunk.image or Cited()
        for chunk in grounding.grounding_chunks or ()
    ]
    return [*chunks, *(quoted.citations or ()), *(quoted.citation_sources or ())]


def read_usage(body: UsageBody) -> Usage | None:
    """Return the usage in this shape; None when it counts nothing.

    Google counts thoughts, and what its own tools put into the prompt, apart from the rest.
    """
    thoughts = _count(body.thoughts_token_count)
    usage = Usage(
        input_tokens=_sum(_count(body.prompt_token_count), _count(body.tool_use_prompt_token_count)),
        output_tokens=_sum(_count(body.candidates_token_count), thoughts),
        total_tokens=_count(body.total_token_count),
        reasoning_tokens=thoughts,
        cache_read_tokens=_count(body.cached_content_token_count),
    )
    return None if usage == Usage() else usage


def _count(value: object) -> int | None:
    if type(value) is int:  # nearly always
        return value if value >= 0 else None
    return read_count(value) if isinstance(value, float) else None


def _sum(first: int | None, second: int | None) -> int | None:
    return second if first is None else first + (second or 0)
