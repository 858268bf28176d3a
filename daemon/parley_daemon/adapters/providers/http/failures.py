"""Turns what went wrong with a call into a ModelError: a kind, a sentence for the user, and a detail.

Theory of operation. A failure has three sources: an HTTP status with a body, an error object inside a
successful response, and what this code notices itself (a broken connection, an invalid event). For the first
two, `error_bodies` extracts the message and the codes, `failure_rules` maps them to a kind, and `Call` writes
the sentence. The sentence is this project's own, so that it says what to do, in one style for all providers.
The provider is quoted in `detail`, and in the sentence only when nobody else knows what is wrong with a
request. Quotes are truncated and freed of secrets (`redaction`).

A failure is retryable when the same request may succeed later. A provider's retry hint (a header, or words
such as "try again in 20s") is kept with a retryable failure.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Literal, cast, overload
from urllib.parse import urlsplit

import msgspec

from parley_daemon.adapters.providers.http.endpoints import without_version
from parley_daemon.adapters.providers.http.error_bodies import ErrorText, read_body, read_error
from parley_daemon.adapters.providers.http.error_bodies import is_error as is_error_object
from parley_daemon.adapters.providers.http.failure_rules import (
    DENIALS,
    LIMITS_OF_ACCOUNT,
    RULES,
    STATUS_OF_TYPE,
    TEMPLATE_REASON,
    Rule,
    regex,
)
from parley_daemon.adapters.providers.http.redaction import first_sentences, quote
from parley_daemon.core.records import Failure, FailureKind
from parley_daemon.ports.models import ModelError

_WAIT = regex(
    r"\b(?:again|retry) (?:in|after):? "
    r"((?:\d{1,9}(?:\.\d+)? ?(?:milliseconds?|ms|hours?|minutes?|seconds?|[hms])[ ,]*)+)"
)
_SPAN = regex(r"(\d+(?:\.\d+)?) ?(milli|ms|h|m|s)")
_MILLISECONDS = {"milli": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_MAX_TEXT_LENGTH = 4000
_MAX_WHOLE_LENGTH = 240  # of a message that is quoted as it is


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as far as its errors name it. `secrets` are removed from everything that is quoted."""

    provider: str
    model: str
    url: str
    secrets: tuple[str, ...] = field(default=(), repr=False)
    has_key: bool = False

    @property
    def origin(self) -> str:
        """Return scheme, host and port of the server, without credentials."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def shown_url(self) -> str:
        """Return the URL without credentials and without its query."""
        return self.origin + urlsplit(self.url).path

    def error_from_status(self, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
        """Return the error of a response with an HTTP status other than success."""
        error_text = read_body(body)
        hint = retry_hint(headers, error_text.text)
        rule = self._find_rule(status, error_text, hint)
        kind, retryable = (rule.kind, rule.retryable) if rule else ("invalid_request", False)
        message = self._build_message(kind, status, error_text, hint, retryable)
        return self._error(kind, retryable, status, error_text, hint, message)

    def error_from_object(self, error: object) -> ModelError:
        """Return the error of an error object inside a successful response."""
        error_text = read_error(error)
        hint = retry_hint({}, error_text.text)
        status = error_text.number or _status_of(error_text)
        rule = self._find_rule(status, error_text, hint)
        # The request was accepted: a failure without an explanation is the server's, and worth another try.
        kind, retryable = (rule.kind, rule.retryable) if rule else ("overloaded", True)
        message = self._build_message(kind, status, error_text, hint, retryable)
        return self._error(kind, retryable, error_text.number, error_text, hint, message)

    @overload
    def error_in_payload(self, payload: bytes, *, is_error: Literal[True]) -> ModelError: ...

    @overload
    def error_in_payload(self, payload: bytes) -> ModelError | None: ...

    def error_in_payload(self, payload: bytes, *, is_error: bool = False) -> ModelError | None:
        """Return the error in a payload; None: it is none. `is_error`: the server has marked it as one."""
        try:
            value = cast("object", msgspec.json.decode(payload))
        except (ValueError, RecursionError):
            value = payload.decode("utf-8", "replace")
        return self.error_from_object(value) if is_error or is_error_object(value) else None

    def error_in_document(self, body: bytes) -> ModelError | None:
        """Return the error in a JSON document that came in place of an answer; None: it has no message."""
        try:
            value = cast("object", msgspec.json.decode(body))
        except (ValueError, RecursionError):
            return None
        return self.error_from_object(value) if read_error(value).message else None

    def bad_stream(self, message: str, quoted: str | None = None) -> ModelError:
        """Return the error of a response that is not an answer, or not a complete one."""
        return self.error("bad_stream", message, quoted or "", retryable=True)

    def too_large(self, problem: str) -> ModelError:
        """Return the error of an answer above a limit. `problem` says which, as in "has 300 tool calls"."""
        message = f"The answer of {self.provider} {problem}. What came before is kept."
        return self.error("limit", message, "", retryable=False)

    def compressed(self, encoding: str) -> ModelError:
        """Return the error of a response with a content encoding that was not requested."""
        message = (
            f"{self.provider} sent compressed data ({encoding}), which was not requested; switch off the"
            f" compression of the server or proxy at {self.origin}."
        )
        return self.error("bad_stream", message, "", retryable=False)

    def invalid_request(self, message: str) -> ModelError:
        """Return the error of a request that is not worth sending."""
        return self.error("invalid_request", message, "", retryable=False)

    def error(self, kind: FailureKind, message: str, quoted: str, *, retryable: bool) -> ModelError:
        """Return an error with this message; secrets are removed from what is quoted."""
        detail = quote(quoted, self.secrets) or None
        return ModelError(Failure(kind, message, detail, self.provider, retryable=retryable))

    def _find_rule(self, status: int | None, error_text: ErrorText, hint: int | None) -> Rule | None:
        # The name of a model must not match a rule: "quota-7b" is not a quota.
        name = rf"(?<![\w-]){re.escape(self.model)}(?![\w-])"
        message = re.sub(name, "model", error_text.message[:_MAX_TEXT_LENGTH])
        label = re.sub(name, "model", error_text.label[:_MAX_TEXT_LENGTH])
        return next((rule for rule in RULES if rule.applies(status, message, label, hint)), None)

    def _error(
        self,
        kind: FailureKind,
        retryable: bool,
        status: int | None,
        error_text: ErrorText,
        hint: int | None,
        message: str,
    ) -> ModelError:
        detail = quote(error_text.message or error_text.label, self.secrets) or None
        wait = hint if retryable else None
        failure = Failure(kind, message, detail, self.provider, status, retryable, wait)
        of_provider = (
            self.model not in error_text.text and LIMITS_OF_ACCOUNT.search(error_text.text) is not None
        )
        return ModelError(failure, of_provider=of_provider)

    def _build_message(
        self, kind: FailureKind, status: int | None, error_text: ErrorText, hint: int | None, retryable: bool
    ) -> str:
        name, model = self.provider, self.model
        match kind, status:
            case "auth", 407:
                return (
                    f"The proxy for {self.origin} requires a user name and a password; add them to its URL in"
                    " the environment (http_proxy, HTTPS_PROXY or ALL_PROXY)."
                )
            case "auth", _ if (advice := self._denial_advice(error_text)) is not None:
                return advice
            case "auth", 403 if not self.has_key:
                return f"{name} does not allow this request; no API key is configured."
            case "auth", 403:
                return f"{name} does not allow this request with this API key."
            case "auth", _ if not self.has_key:
                return f"{name} requires an API key, but none is configured."
            case "auth", _:
                return f"{name} does not accept the configured API key."
            case "usage_limit", _:
                return f"The account at {name} has no quota or credit left; check its plan and billing."
            case "rate_limit", _ if not retryable:
                return f"This chat is too large for one request of this account at {name}."
            case "rate_limit", _:
                when = "in a moment" if hint is None else f"in {max(1, round(hint / 1000))} s"
                return f"The rate limit of {name} is reached; try again {when}."
            case "context_length", _:
                return f"This chat does not fit into the context window of {model}."
            case "content_filter", _:
                return f"The content filter of {name} refused this chat."
            case "model_not_found", _:
                return f'{name} has no model "{model}".'
            case "timeout", _:
                return f"{name} reports a timeout: its model did not answer in time."
            case "network", _:
                return f"The gateway of {name} cannot reach its model server."
            case "overloaded", 503 | 529:
                return f"{name} is overloaded at the moment."
            case "overloaded", _:
                return f"{name} failed while it was working on the answer."
            case _, 404 if self.shown_url.endswith("/responses"):
                return (
                    f"There is no chat API at {self.shown_url}; check base_url, "
                    'or set api = "chat" for a server that supports only chat completions.'
                )
            case _, 404:
                return f"There is no chat API at {self.shown_url}; check base_url.{self._version_advice}"
            case _, 405:
                return (
                    f"{self.shown_url} does not accept POST requests; check base_url.{self._version_advice}"
                )
            case _, int() if 300 <= status < 400:
                return f"{self.origin} redirects to another address; check base_url."
            case _, 413:
                return f"The request is larger than {name} accepts."
            case _:
                why = first_sentences(_essence(error_text.message), self.secrets)
                return f"{name} refused the request: {why}" if why else f"{name} refused the request."

    @property
    def _version_advice(self) -> str:
        full_url = without_version(self.shown_url)
        if full_url is None:
            return ""
        return f" If the URLs of this server have no /v1, set base_url to the full URL: {full_url}"

    def _denial_advice(self, error_text: ErrorText) -> str | None:
        """Return the advice of `DENIALS` for an error; None: there is none."""
        for pattern, sentence in DENIALS:
            if found := pattern.search(error_text.text[:_MAX_TEXT_LENGTH]):
                return sentence.format(provider=self.provider, model=self.model, **found.groupdict())
        return None


def _essence(message: str) -> str:
    """Return a message without the source of a chat template, which may be long, before its own words."""
    if len(message) <= _MAX_WHOLE_LENGTH:
        return message
    marks = list(TEMPLATE_REASON.finditer(message[-_MAX_TEXT_LENGTH:]))
    return message[-_MAX_TEXT_LENGTH:][marks[-1].start() :] if marks else message


def retry_hint(headers: Mapping[str, str], text: str, now: float | None = None) -> int | None:
    """Return in how many milliseconds the provider wants the next try; None: it does not say.

    Source: RFC 9110, section 10.2.3 (Retry-After). Looks at `retry-after-ms`, at `retry-after` (seconds or
    an HTTP date; `now` is in Unix seconds), and for "try again in …" in the text.
    """
    for name, factor in (("retry-after-ms", 1), ("retry-after", 1000)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,12}(\.\d+)?", value):
            return round(float(value) * factor)
        if value and factor == 1000:
            try:
                moment = parsedate_to_datetime(value).timestamp()
            except (TypeError, ValueError, OverflowError):
                continue
            return max(0, round((moment - (time.time() if now is None else now)) * 1000))
    found = _WAIT.search(text[:_MAX_TEXT_LENGTH])
    if found is None:
        return None
    spans = _SPAN.findall(found.group(1))
    return round(sum(float(number) * _MILLISECONDS[unit.lower()] for number, unit in spans))


def _status_of(error_text: ErrorText) -> int | None:
    for words in (error_text.label, error_text.message[:_MAX_TEXT_LENGTH]):
        for pattern, status in STATUS_OF_TYPE:
            if pattern.search(words):
                return status
    return None
