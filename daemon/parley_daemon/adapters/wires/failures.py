"""What a model call's failure means: the one table from statuses and words to failure kinds.

Every wire dialect uses it. Knows no dialect; says what happened in sentences of its own, and quotes the
provider in `detail` only, cut and without secrets.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Literal, cast, overload
from urllib.parse import urlsplit

import msgspec

from parley_daemon.adapters.wires.error_bodies import Said, read_body, read_error
from parley_daemon.adapters.wires.redaction import quote
from parley_daemon.core.chats import Failure, FailureKind
from parley_daemon.ports.model import ModelError


@dataclass(frozen=True, slots=True)
class _Rule:
    """One row: at these statuses (empty: any but `never_at`) and with these words, this is what it is."""

    kind: FailureKind
    statuses: frozenset[int] = frozenset()
    words: re.Pattern[str] | None = None
    retryable: bool = False
    never_at: frozenset[int] = frozenset()
    only_without_hint: bool = False

    def applies(self, status: int | None, words: str, hint: int | None) -> bool:
        if self.statuses and status not in self.statuses:
            return False
        if status in self.never_at or (self.only_without_hint and hint is not None):
            return False
        return self.words is None or self.words.search(words) is not None


def _at(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


def _says(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# The first row that applies decides. Words come first: providers dress an empty account as a rate limit.
_RULES: tuple[_Rule, ...] = (
    _Rule("usage_limit", words=_says(
        r"insufficient[ _](quota|balance|credits?|funds)|billing_(hard_limit|not_active)|payment required"
        r"|credit balance is too low|out of credits|requires more credits|have any credits|valid credit card"
        r"|api usage limits|(extra usage|usage credits) (is|are) required"
    )),
    _Rule("usage_limit", _at(402)),
    # Without a hint when to come back the quota is used up; with one it is a rate limit in other words.
    _Rule("usage_limit", _at(429), _says(r"current quota|billing|per[ -]day"), only_without_hint=True),
    # Google asks to come back within a minute also when the day's requests are used up, or none are granted.
    _Rule("usage_limit", _at(429), _says(r"requestsperday|tokens\w*perday|limit: 0\b")),
    _Rule("usage_limit", _at(400, 403), _says(r"\bquota\b|\bbilling\b")),
    # One request that is larger than a minute's tokens is so the next time, too.
    _Rule("rate_limit", _at(413, 429), _says(r"request too large"), only_without_hint=True),
    _Rule("context_length", never_at=_at(401, 402, 429), words=_says(
        r"context[ _]length|context[ _](window|size|limit)|maximum context|prompt is too long"
        r"|input is too long|too many (input )?tokens|reduce the length"
        r"|exceeds? the (maximum|model'?s?) (number of )?tokens?"
    )),
    _Rule("content_filter", never_at=_at(401, 402, 429), words=_says(
        r"content[ _](filter|policy|management)|responsible_?ai_?policy|flagged (by|as|for)"
        r"|safety (system|policy)|bio_policy|policy_violation|violates usage guidelines|content exists risk"
        r"|inappropriate content"
    )),
    _Rule("auth", _at(400), _says(r"api[ _]key not valid|(invalid|incorrect)[ _]api[ _]key|api_key_invalid")),
    _Rule("model_not_found", words=_says(
        r"model_not_found|model_decommissioned|no models loaded|no (allowed providers|endpoints found)"
    )),
    _Rule("model_not_found", _at(404), _says(r"\bmodels?\b|deployment")),
    _Rule("model_not_found", _at(400, 422), _says(
        r"(unknown|invalid|no such) model|not a valid model|model identifier is invalid"
        r"|\bmodel\b.{0,80}(does not exist|not found|not exist)"
    )),
    _Rule("auth", _at(401, 403, 407)),
    _Rule("timeout", _at(408, 504, 524), retryable=True),
    _Rule("rate_limit", _at(409, 425, 429), retryable=True),
    _Rule("overloaded", _at(500), _says(r"requires more system memory")),
    _Rule("invalid_request", _at(501), _says(r"not support")),
    # 500 is most often a model server out of memory or slots; a gateway's 502 has no model server behind it.
    _Rule("overloaded", _at(500, 503, 529), retryable=True),
    _Rule("network", _at(502, 520, 521, 522, 523), retryable=True),
    _Rule("invalid_request", frozenset(range(300, 500))),
    _Rule("overloaded", frozenset(range(500, 600))),
)  # fmt: skip

# An error inside a 200 stream names its status or a type; a type stands for the status it would have been.
_STATUS_OF_TYPE: tuple[tuple[re.Pattern[str], int], ...] = (
    (
        _says(
            r"invalid_(prompt|image|base64)|(unsupported|empty|download)_image|image_(too|parse|file)"
            r"|data_residency"
        ),
        400,
    ),
    (_says(r"rate[ _]?limit|too_?many_?requests|resource_?exhausted|throttl"), 429),
    (_says(r"overload|unavailable|capacity"), 503),
    (_says(r"authentication|unauthori[sz]ed|invalid_api_key"), 401),
    (_says(r"permission|forbidden"), 403),
    (_says(r"time[ _d-]?out|deadline"), 504),
    (_says(r"not_?found|unexpected endpoint"), 404),
    (_says(r"invalid_?request|bad_?request|invalid_?argument|unprocessable"), 400),
    (_says(r"server_?error|internal|api_?error"), 500),
)

_WAIT = _says(
    r"\b(?:again|retry) (?:in|after):? "
    r"((?:\d{1,9}(?:\.\d+)? ?(?:milliseconds?|ms|hours?|minutes?|seconds?|[hms])[ ,]*)+)"
)
_SPAN = _says(r"(\d+(?:\.\d+)?) ?(milli|ms|h|m|s)")
_MILLISECONDS = {"milli": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_LONGEST_TEXT = 4000


@dataclass(frozen=True, slots=True)
class Call:
    """Whom a call went to, as far as its failure must say so. `secrets` never appear in what is said."""

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

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> ModelError:
        """Return the error that an HTTP status other than success stands for."""
        said = read_body(body)
        hint = retry_hint(headers, said.text)
        rule = self._rule(status, said, hint)
        kind, retryable = (rule.kind, rule.retryable) if rule else ("invalid_request", False)
        return self._error(kind, retryable, status, said, hint, self._sentence(kind, status, hint, retryable))

    def failed_in_stream(self, error: object) -> ModelError:
        """Return the error that an error object inside a successful response stands for."""
        said = read_error(error)
        hint = retry_hint({}, said.text)
        status = said.number or _status_of(said)
        rule = self._rule(status, said, hint)
        # The request was accepted: a failure that nobody explains is the server's, and worth another try.
        kind, retryable = (rule.kind, rule.retryable) if rule else ("overloaded", True)
        sentence = self._sentence(kind, status, hint, retryable)
        return self._error(kind, retryable, said.number, said, hint, sentence)

    @overload
    def error_in(self, payload: bytes, *, certainly: Literal[True]) -> ModelError: ...

    @overload
    def error_in(self, payload: bytes) -> ModelError | None: ...

    def error_in(self, payload: bytes, *, certainly: bool = False) -> ModelError | None:
        """Return the error that a payload is, if it is one; `certainly`: the server has called it one."""
        try:
            said = cast("object", msgspec.json.decode(payload))
        except (ValueError, RecursionError):
            said = payload.decode("utf-8", "replace")
        kinds: tuple[object, ...] = ()
        if isinstance(said, dict):
            fields = cast("dict[str, object]", said)
            kinds = (fields.get("object"), fields.get("type"))
        return self.failed_in_stream(cast("object", said)) if certainly or "error" in kinds else None

    def explained(self, body: bytes) -> ModelError | None:
        """Return the error that a JSON document in place of an answer is, if it says what went wrong."""
        try:
            said = cast("object", msgspec.json.decode(body))
        except (ValueError, RecursionError):
            return None
        return self.failed_in_stream(said) if read_error(said).message else None

    def broke(self, message: str, quoted: str | None = None) -> ModelError:
        """Return a stream's failure: what came is not an answer, or not a whole one."""
        return self.failed("bad_stream", message, quoted or "", retryable=True)

    def invalid(self, message: str) -> ModelError:
        """Return the failure of a request that is not worth sending."""
        return self.failed("invalid_request", message, "", retryable=False)

    def failed(self, kind: FailureKind, message: str, quoted: str, *, retryable: bool) -> ModelError:
        """Return a failure in these words, with what is quoted made fit to be shown."""
        detail = quote(quoted, self.secrets) or None
        return ModelError(Failure(kind, message, detail, self.provider, retryable=retryable))

    def _rule(self, status: int | None, said: Said, hint: int | None) -> _Rule | None:
        # A model's name is only a name: "quota-7b" is no quota.
        name = rf"(?<![\w-]){re.escape(self.model)}(?![\w-])"
        text = re.sub(name, "model", said.text[:_LONGEST_TEXT])
        return next((rule for rule in _RULES if rule.applies(status, text, hint)), None)

    def _error(
        self,
        kind: FailureKind,
        retryable: bool,
        status: int | None,
        said: Said,
        hint: int | None,
        sentence: str,
    ) -> ModelError:
        detail = quote(said.message or said.label, self.secrets) or None
        wait = hint if retryable else None
        return ModelError(Failure(kind, sentence, detail, self.provider, status, retryable, wait))

    def _sentence(self, kind: FailureKind, status: int | None, hint: int | None, retryable: bool) -> str:
        name, model = self.provider, self.model
        match kind, status:
            case "auth", 403:
                return f"{name} does not allow this request with this API key."
            case "auth", 407:
                return f"The proxy on the way to {self.origin} asks for credentials."
            case "auth", _ if not self.has_key:
                return f"{name} asks for an API key, and none is configured."
            case "auth", _:
                return f"{name} does not accept the configured API key."
            case "usage_limit", _:
                return f"The account at {name} has no quota or credit left."
            case "rate_limit", _ if not retryable:
                return f"This chat is larger than one request of this account at {name} may be."
            case "rate_limit", _:
                when = "in a moment" if hint is None else f"in {max(1, round(hint / 1000))} s"
                return f"{name} limits how much may be asked; try again {when}."
            case "context_length", _:
                return f"This chat is longer than {model} can take in."
            case "content_filter", _:
                return f"The content filter of {name} refused this chat."
            case "model_not_found", _:
                return f'{name} has no model "{model}".'
            case "timeout", _:
                return f"{name} gave up waiting for its model."
            case "network", _:
                return f"The gateway of {name} does not reach its model server."
            case "overloaded", 503 | 529:
                return f"{name} is overloaded at the moment."
            case "overloaded", _:
                return f"{name} failed while it was working on the answer."
            case _, 404 if self.shown_url.endswith("/responses"):
                return (
                    f"There is no chat model behind {self.shown_url}; check base_url, "
                    'or set api = "chat" for a server that only knows chat completions.'
                )
            case _, 404:
                return f"There is no chat model behind {self.shown_url}; check base_url."
            case _, 405:
                return f"{self.shown_url} does not take questions; check base_url."
            case _, int() if 300 <= status < 400:
                return f"{self.origin} answers from another address; check base_url."
            case _, 413:
                return f"The request is larger than {name} accepts."
            case _:
                return f"{name} refused the request."


def retry_hint(headers: Mapping[str, str], text: str, now: float | None = None) -> int | None:
    """Return after how many milliseconds the provider wants to be asked again, if it says so.

    Looks at `retry-after-ms`, at `retry-after` (seconds or an HTTP date; `now` is in Unix seconds), and for
    "try again in …" in the text.
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
    found = _WAIT.search(text[:_LONGEST_TEXT])
    if found is None:
        return None
    spans = _SPAN.findall(found.group(1))
    return round(sum(float(number) * _MILLISECONDS[unit.lower()] for number, unit in spans))


def _status_of(said: Said) -> int | None:
    for words in (said.label, said.message[:_LONGEST_TEXT]):
        for pattern, status in _STATUS_OF_TYPE:
            if pattern.search(words):
                return status
    return None


def is_local(url: str) -> bool:
    """Return whether a URL's server is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
