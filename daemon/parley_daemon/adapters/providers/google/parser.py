"""Parses a generateContent stream into pieces, usage and the reason of the end.

Source: https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse

Every event is a GenerateContentResponse with `candidates[0].content.parts`: text, thoughts, whole tool calls,
files. A `finishReason` completes the answer; usage may follow. Servers that imitate the API send one with
every event: the last one counts. There is no end mark: the stream just ends. Every event counts all tokens
anew, so usage is only converted now and then (`_USAGE_EVERY`). Errors come as `error`, as `promptFeedback`
(the prompt was blocked), or as a finish reason (`_FAILURES`). Without `alt=sse` the response is a JSON array
of events, or one of them.

Thought signatures may stand on any part. Those on parts that are not thoughts are kept in reasoning parts of
their own (`signatures`).
"""

import uuid
from collections.abc import Sequence

import msgspec

from parley_daemon.adapters.providers.google.events import (
    Blob,
    Candidate,
    Event,
    FunctionCall,
    Part,
    UsageBody,
    decode_event,
    read_citations,
    read_usage,
)
from parley_daemon.adapters.providers.google.signatures import SignedField, add_field, make_call_id
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.lenient_json import (
    convert_or_none,
    encode_json,
    replace_surrogates,
)
from parley_daemon.adapters.providers.shared.answer_state import AnswerState
from parley_daemon.adapters.providers.shared.stop_reasons import is_failure, map_reason, read_reason
from parley_daemon.core.nesting import is_too_deep
from parley_daemon.core.parts import File, Reasoning, Text, ToolCall
from parley_daemon.core.records import FailureKind
from parley_daemon.ports.models import Chunk, ModelError, StopReason

_STOP_REASONS: dict[str, StopReason] = {
    "STOP": "stop",
    "FUNCTION_CALL": "tool_calls",  # not Google's; of a server that imitates the API
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "ESCALATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
# Usage is reported after so many reads, and at every event that is more than text.
_USAGE_EVERY = 16
_UNREADABLE: tuple[FailureKind, str, bool] = (
    "bad_stream",
    "The model of {} sent an answer or a tool call that is not valid.",
    True,
)
_FAILED: tuple[FailureKind, str, bool] = (
    "overloaded",
    "{} failed while it was working on the answer.",
    True,
)
# With these finish reasons there is no answer.
_FAILURES: dict[str, tuple[FailureKind, str, bool]] = {
    "MALFORMED_FUNCTION_CALL": _UNREADABLE,
    "UNEXPECTED_TOOL_CALL": _UNREADABLE,
    "MALFORMED_RESPONSE": _UNREADABLE,
    "MISSING_THOUGHT_SIGNATURE": (
        "invalid_request",
        "{} requires the signature of an earlier tool call, which is missing; remove that call from the"
        " chat.",
        False,
    ),
    "PUP_LIMITED_DISABLED": (
        "auth",
        "{} has restricted or closed this account because of its usage policy; see the console of the"
        " account.",
        False,
    ),
}


class GoogleParser:
    """Parses one answer."""

    is_done = False

    def __init__(self, call: Call) -> None:
        self.reason: str | None = None  # the newest finish reason
        self.is_doubtful = False  # it came with the first part of the answer
        self._has_begun = False  # something was returned
        self._call = call
        self._answer = AnswerState(call)
        self._pieces = self._answer.pieces
        self._calls: dict[str, ToolCall] = {}  # by id
        self._newest_usage: UsageBody | None = None  # the usage of the newest event
        self._reads = 0

    @property
    def is_complete(self) -> bool:
        """Whether a finish reason has come, and nothing of the answer after it."""
        return self._pieces.has_ended

    def take(self) -> list[Chunk]:
        """Return what is new since the last call, with the texts of one part joined."""
        self._reads += 1
        if self._reads % _USAGE_EVERY == 1:
            self._update_usage()
        chunks = self._answer.take()
        self._has_begun = self._has_begun or bool(chunks)
        return chunks

    def finish(self) -> list[Chunk]:
        """Return the last chunks of a complete answer; when called again, only what is new."""
        self._update_usage()
        reason = map_reason(self.reason or "STOP", _STOP_REASONS)
        return self._answer.finish(reason, has_calls=bool(self._calls))

    def feed(self, payloads: Sequence[bytes]) -> None:
        """Take the payloads of one read. The usual event, only text, is handled in line.

        Raises:
            ModelError: an event is not valid, or is an error.
        """
        pieces, texts = self._pieces, self._pieces.texts
        for payload in payloads:
            try:
                event = decode_event(payload)
            except (ValueError, RecursionError):
                event = self._answer.decode(payload, Event)
                if event is None:
                    continue
            self._newest_usage = event.usage_metadata or self._newest_usage
            candidates = event.candidates
            if candidates and len(candidates) == 1 and event.error is None:
                candidate = candidates[0]
                content = candidate.content
                if (
                    content is not None
                    and content.parts
                    and len(content.parts) == 1
                    and candidate.finish_reason is None
                    and not candidate.index
                    and candidate.grounding_metadata is None
                    and candidate.citation_metadata is None
                ):
                    part = content.parts[0]
                    if (
                        part.text is not None
                        and pieces.run is (Reasoning if part.thought else Text)
                        and part.thought_signature is None
                        and part.function_call is None
                    ):
                        texts.append(part.text)
                        continue
            self._update_usage()
            self._handle_event(event, payload)

    def feed_document(self, body: bytes) -> bool:
        """Take a whole answer, or the array of a stream's events; False when it is no answer (see Parser)."""
        if not body.startswith(b"["):
            event = self._answer.decode(body, Event)
            if event is None or not (event.candidates or event.prompt_feedback or event.error):
                return False
            self.feed([body])
            return True
        try:
            payloads = msgspec.json.decode(body, type=list[msgspec.Raw])
        except (ValueError, RecursionError):
            return False
        self.feed([bytes(payload) for payload in payloads])
        return len(payloads) > 0

    def _update_usage(self) -> None:
        if self._newest_usage is not None:
            self._answer.usage = read_usage(self._newest_usage) or self._answer.usage
            self._newest_usage = None

    def _handle_event(self, event: Event, payload: bytes) -> None:
        """Take any event.

        Raises:
            ModelError: it is an error, or the prompt was blocked.
        """
        if event.error:
            raise self._call.error_from_object(event.error)
        if not event.candidates:
            error = self._call.error_in_payload(payload)
            if error is not None:
                raise error
            feedback = event.prompt_feedback
            if feedback is not None and feedback.block_reason:
                detail = ": ".join(filter(None, [feedback.block_reason, feedback.block_reason_message]))
                raise self._build_error(
                    "content_filter", "The content filter of {} refused this chat.", detail
                )
        had_begun = self._has_begun or any(self._pieces.texts)
        for candidate in event.candidates or ():
            if candidate.index:
                continue
            if candidate.content is not None:
                for part in candidate.content.parts or ():
                    self._handle_part(part)
            self._add_sources(candidate)
            reason = read_reason(candidate.finish_reason)
            if reason is not None:
                self._set_stop_reason(candidate, reason)
        self.is_doubtful = self._pieces.has_ended and not had_begun

    def _set_stop_reason(self, candidate: Candidate, reason: str) -> None:
        self.reason = reason
        self._pieces.end()
        if reason in _FAILURES or is_failure(reason):
            kind, message, retryable = _FAILURES.get(reason, _FAILED)
            detail = candidate.finish_message
            quoted = f"{reason}: {detail}" if isinstance(detail, str) and detail else reason
            raise self._build_error(kind, message, quoted, retryable=retryable)

    def _build_error(
        self, kind: FailureKind, message: str, quoted: str, *, retryable: bool = False
    ) -> ModelError:
        return self._call.error(kind, message.format(self._call.provider), quoted, retryable=retryable)

    def _handle_part(self, part: Part) -> None:
        if part.function_call is not None:
            self._sign("functionCall", part.thought_signature)
            self._add_call(part.function_call)
        elif part.thought:  # images in thoughts are ignored
            self._pieces.append(Reasoning, part.text or "")
            if part.thought_signature:
                self._pieces.sign(part.thought_signature)
        elif part.inline_data is not None or part.file_data is not None:
            self._sign("fileData" if part.inline_data is None else "inlineData", part.thought_signature)
            self._add_file(part)
        elif part.text is not None:
            self._pieces.append(Text, part.text)
            self._sign("text", part.thought_signature)

    def _sign(self, field: SignedField, signature: str | None) -> None:
        if signature:
            self._pieces.sign(add_field(field, signature))

    def _add_call(self, call: FunctionCall) -> None:
        args: object = {} if call.args is None else call.args
        if self._pieces.has_surrogates:
            args = msgspec.json.decode(encode_json(args))
        if is_too_deep(args):
            args = encode_json(args).decode()
        id, name = replace_surrogates(call.id or ""), replace_surrogates(call.name or "")
        whole = ToolCall(id, name, args)
        if id and self._calls.get(id) == whole:
            return  # the same call once more
        if not id or id in self._calls:
            whole = ToolCall(make_call_id(uuid.uuid4().hex), name, args)
        self._calls[whole.tool_call_id] = whole
        self._pieces.add(whole)

    def _add_file(self, part: Part) -> None:
        value = part.file_data if part.inline_data is None else part.inline_data
        blob = convert_or_none(value, Blob)
        if blob is not None and (blob.data or blob.file_uri):
            url = None if blob.data else blob.file_uri
            self._pieces.add(File(blob.mime_type, blob.data or None, url, blob.display_name))

    def _add_sources(self, candidate: Candidate) -> None:
        if candidate.grounding_metadata is None and candidate.citation_metadata is None:
            return
        for cited in read_citations(candidate):
            self._answer.add_source(cited.source())
