"""The tables that map what providers say about an error to kinds of failures.

Providers disagree about statuses: an empty account is 402, 429, 400 or 403; a prompt that is too long is 400,
413 or 500. So a rule looks at the status and at the words of the error, and the first rule that applies
decides. Rules with words come before rules with a status only. The words were collected from real responses
(tests/adapters/providers/http/recorded_errors.jsonl) and from the providers' documentation.

Some meanings have too many wordings for a list: such a rule has a function instead (`overflow`).

- `RULES`: from status and words to a FailureKind, and whether another try makes sense.
- `STATUS_OF_TYPE`: an error inside a 200 response has no status; its type stands for one.
- `LIMITS_OF_ACCOUNT`: a limit that is not one of a single model.
- `TEMPLATE`: a chat template refuses the messages; its own words are in `TEMPLATE_REASON`.
- `DENIALS`: what a user can do about a denial, when the error says more than that.
"""

import re
from collections.abc import Callable

import msgspec

from parley_daemon.adapters.providers.http.overflow import RATE, counts_overflow, exceeds_rate, is_overflow
from parley_daemon.core.records import FailureKind


class Rule(msgspec.Struct, frozen=True, gc=False):
    """One row: it applies at these statuses (empty: any but `never_at`) and, if given, with these words.

    `meaning` is given the message and the codes of the error.
    """

    kind: FailureKind
    statuses: frozenset[int] = frozenset()
    words: re.Pattern[str] | None = None
    meaning: Callable[[str, str], bool] | None = None
    retryable: bool = False
    never_at: frozenset[int] = frozenset()
    only_without_hint: bool = False

    def applies(self, status: int | None, message: str, label: str, hint: int | None) -> bool:
        """Return whether the rule applies to a status, an error's message and codes, and its hint in ms."""
        if self.statuses and status not in self.statuses:
            return False
        if status in self.never_at or (self.only_without_hint and hint is not None):
            return False
        if self.meaning is not None and not self.meaning(message, label):
            return False
        return self.words is None or self.words.search(f"{message} {label}") is not None


def _at(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


def regex(pattern: str) -> re.Pattern[str]:
    """Return a compiled pattern that ignores case."""
    return re.compile(pattern, re.IGNORECASE)


# Statuses that are clear by themselves: the words beside them may be about anything ("see our content
# policy"). 500 is not among them: servers also send it when a prompt does not fit.
_PLAIN = _at(401, 402, 408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 529)

TEMPLATE = regex(
    r"jinja|raise_exception|(chat|prompt)[ _-]?template|template[ _-]?(error|exception|render|syntax)"
    r"|while executing \w+ at line \d|roles? must alternate|system role (is )?not supported"
)
"""Words of a model's chat template that refuses the messages, or cannot be applied to them."""

# The first row that applies decides. Words come first: providers report an empty account as a rate limit.
RULES: tuple[Rule, ...] = (
    Rule("usage_limit", words=regex(
        r"insufficient[ _](quota|balance|credits?|funds)|billing_(hard_limit|not_active)|payment required"
        r"|credit balance is too low|out of credits|requires more credits|have any credits|valid credit card"
        r"|api usage limits?|(extra usage|usage credits) (is|are) required|billing_error|spend_limit_reached"
        r"|reached your specified usage limit"
    )),
    Rule("usage_limit", _at(402)),
    # Without a retry hint the quota is used up; with one it is a rate limit in other words.
    Rule("usage_limit", _at(429), regex(r"current quota|billing|per[ -]day"), only_without_hint=True),
    # Google sends a retry hint also when the requests of the day are used up, or none are granted.
    Rule("usage_limit", _at(429), regex(r"requestsperday|tokens\w*perday|limit: 0\b")),
    Rule("usage_limit", _at(400, 403), regex(r"\bquota\b|\bbilling\b")),
    Rule(
        "usage_limit",
        _at(400, 403),
        regex(r"per[ -]day|(dai|month)ly (\w+ )?limit"),
        only_without_hint=True,
    ),
    # A request that is larger than the tokens of one minute will be so again.
    Rule("rate_limit", _at(413, 429), regex(r"request too large"), only_without_hint=True),
    Rule("rate_limit", _at(413), RATE, only_without_hint=True),
    Rule("rate_limit", meaning=exceeds_rate, only_without_hint=True),
    Rule("rate_limit", never_at=_PLAIN, words=RATE, retryable=True),
    # A router quotes its upstream provider behind a 502, too.
    Rule("context_length", never_at=_at(401, 402, 429), words=regex(r"context_length_exceeded")),
    Rule("context_length", _at(502, 503), meaning=counts_overflow),
    Rule("context_length", never_at=_PLAIN | _at(403, 414, 431), meaning=is_overflow),
    Rule("content_filter", never_at=_PLAIN, words=regex(
        r"content[ _](filter|policy|management)|responsible_?ai_?policy|flagged (by|as|for)"
        r"|safety (system|policy)|bio_policy|policy_violation|violates usage guidelines|content exists risk"
        r"|inappropriate content|sensitive[_ ]?(words?|content|information)|new_sensitive|敏感内容"
        r"|responsible ai"
        r"|(blocked|rejected|refused|denied) by .{0,30}(moderation|guardrail|polic|filter)|moderation_blocked"
        r"|guardrail.{0,20}(blocked|intervened)|violat\w+ .{0,40}(terms|polic|guidelines)"
    )),
    # A chat template that refuses the messages will do so again.
    Rule("invalid_request", never_at=_at(401, 402, 404, 408, 413, 429), words=TEMPLATE),
    Rule("auth", _at(400), regex(r"api[ _]key not valid|(invalid|incorrect)[ _]api[ _]key|api_key_invalid")),
    Rule("model_not_found", words=regex(
        r"model_not_found|model_decommissioned|no models loaded|no (allowed providers|endpoints found)"
    )),
    Rule("model_not_found", _at(404), regex(r"\bmodels?\b|deployment")),
    Rule("model_not_found", _at(400, 422), regex(
        r"(unknown|invalid|no such) model|not a valid model|model identifier is invalid"
        r"|\bmodel\b.{0,80}(does not exist|not found|not exist)"
    )),
    Rule("auth", _at(401, 403, 407)),
    Rule("timeout", _at(408, 504, 524), retryable=True),
    Rule("rate_limit", _at(409, 425, 429), retryable=True),
    Rule("overloaded", _at(500), regex(r"requires more system memory")),
    Rule("invalid_request", _at(501), regex(r"not support")),
    # 500 is most often a model server without memory or slots; behind a gateway's 502 is no model server.
    Rule("overloaded", _at(500, 503, 529), retryable=True),
    Rule("overloaded", _at(424)),  # the model behind Bedrock failed
    Rule("network", _at(502, 520, 521, 522, 523), retryable=True),
    Rule("invalid_request", frozenset(range(300, 500))),
    Rule("overloaded", frozenset(range(500, 600))),
)  # fmt: skip

# An error inside a 200 stream names its status or a type; a type stands for the status it would have had.
STATUS_OF_TYPE: tuple[tuple[re.Pattern[str], int], ...] = (
    (
        regex(
            r"invalid_(prompt|image|base64)|(unsupported|empty|download)_image|image_(too|parse|file)"
            r"|data_residency|content_(filter|policy)|context_length"
        ),
        400,
    ),
    (regex(r"rate[ _]?limit|too_?many_?requests|resource_?exhausted|throttl"), 429),
    (regex(r"overload|unavailable|capacity"), 503),
    (regex(r"authentication|unauthori[sz]ed|invalid_api_key"), 401),
    (regex(r"permission|forbidden"), 403),
    (regex(r"time[ _d-]?out|deadline"), 504),
    (regex(r"not_?found|unexpected endpoint"), 404),
    (regex(r"too_?large"), 413),
    (regex(r"invalid_?request|bad_?request|invalid_?argument|unprocessable|validation"), 400),
    (regex(r"server_?error|internal|api_?error"), 500),
)

TEMPLATE_REASON = regex(r"(jinja2?[ _]exception|template[ _]?error|raise_exception)\b[:(\s]+")
"""What stands before the words of the template itself; before it stand a place and source."""

# Limits of organisations are not among these: they are usually counted by model.
LIMITS_OF_ACCOUNT = regex(
    r"\b(all|any|across) models\b|\b(your|this|the) (account|workspace|api[ _]key|ip)\b"
    r"|per[ -](account|key|ip)\b"
)
"""Words of a limit of all models of a provider together."""

# What a user can do about a denial; the first that is found. All of these are AWS' words: its requests are
# signed and may be sent without an API key.
DENIALS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        regex(r"security token included in the request is expired"),
        "The AWS credentials of {provider} have expired; renew them.",
    ),
    (
        regex(r"signature (expired|not yet current)"),
        "{provider} does not accept the time of the request's signature; check the clock of this machine.",
    ),
    (
        regex(r"security token included in the request is invalid|request signature we calculated"),
        "{provider} does not accept the AWS credentials; check profile in its configuration, or"
        " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the daemon.",
    ),
    (
        regex(r"have access to the model with the specified model id"),
        "This account has no access to {model} at {provider}; request it in the console of Amazon Bedrock,"
        " under model access.",
    ),
    (
        regex(r"is not authorized to perform:? (?P<action>[\w-]{1,40}:\w{1,60})"),
        "The credentials of {provider} do not allow this; they need the permission {action}.",
    ),
)
