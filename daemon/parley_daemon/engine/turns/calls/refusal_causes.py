"""Finds out what a provider did not accept, from the status and the words of its failure.

A failure is not the message's fault if it names a setting, the model, the key, or the structure of the
history. When the provider gives no usable reason, the message is marked: a person can have it answered again
with one call, but a message that is wrongly sent again makes the chat unusable.
The sentences of real servers differ, so the tables match what is said and not the sentence.
"""

import re
from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.parts import File, Reasoning
from parley_daemon.core.records import Failure, Message
from parley_daemon.core.refusals import Cause, has_part


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_FILE = (
    r"\b(images?|image_url|img|pictures?|audio|videos?|pdfs?|vision|multi-?modal\w*|modalit\w+|attachments?"
    r"|documents?|files?|input_(image|audio|file)|inline_?data|file_?data)\b"
)
_FILES = _regex(
    rf"{_FILE}|\b(mime|media)[ _-]?types?\b|base64|\bcontent[ _.-]?(types?|blocks?|parts?)\b|mmproj"
)
# Reported as an error of the server, or as a model that does not exist. Names of models contain "vision".
_NO_FILES = _regex(
    rf"(((not |n't |un)support|(not|n't) (accept|include))\w*|endpoints? found that support).{{0,60}}{_FILE}"
    rf"|{_FILE}.{{0,60}}((not|n't) support|unsupported|not (available|enabled|allowed))"
    rf"|(unexpected|unknown|invalid|unrecogni[sz]ed).{{0,30}}{_FILE}|{_FILE}.{{0,30}}not implemented"
    # Templates and servers that expect a text where a list of parts comes.
    r"|missing data required for image|mmproj|can only concatenate str|'list' object has no attribute"
)
# The path of a message's content as validators write it: "messages[3].content", "messages.0.content.1".
_CONTENT = _regex(
    r"\b(messages?|input)\W{0,3}\d+\W{0,4}content|\bcontents\W{0,3}\d+\W{0,4}parts"
    r"|string (is )?too long|string_above_max_length|special token|unknown variant|\bcontent must be\b"
)
# "rs_" begins the id of a reasoning item that the provider does not have (any more).
_REASONING = _regex(
    r"signature|thinking|reasoning|thought|encrypted[ _]content|\brs_\w|`store` is set to false"
)
_STRUCTURE = _regex(
    r"\b(tools?|tool_\w+|function_?(call|response)\w*|functions|templates?|jinja|roles?|alternat\w+"
    r"|signature\w*|encrypted\w*|system[ _]?(role|message|prompt|instruction)s?)\b"
)
_SETTINGS = _regex(
    r"\b(temperature|top[_ ]?[pk]|(presence|frequency|repetition)_penalty|max_(\w+_)?tokens"
    r"|maxoutputtokens|stop_?sequences?|seed|reasoning\w*|thinking\w*|budget_?tokens|response_?format"
    r"|json_?schema|output_?(schema|config)|response_?(schema|mime_?type)|grammar|stream(_options)?|logit_?bias"
    r"|(top_)?log_?probs|parallel_tool_calls|service_tier|verbosity|prompt_cache\w*|safety_?settings"
    r"|cached_?content|generation_?config|instructions|api[- ]version|headers?|beta)\b|['\"`]stop['\"`]"
    r"|unsupported (value|parameter|field)|unrecognized|unknown (name|parameter|field|argument)"
    r"|extra (inputs|fields)|unexpected (keyword|field)|not permitted|deprecated"
    r"|\bmodel\b.{0,60}\b(not (exist|found|available|loaded|enabled|supported)|unavailable|invalid|unknown)"
    r"|(country|region|location).{0,40}(not |un)supported|on-demand|inference profile|billing|quota|credit"
    r"|deployment|permission|verified|organi[sz]ation|\bmodel\b.{0,60}\bdisabled|upgrade your plan"
    r"|https port|required (parameter|field|header)|does not support (chat|completions?|generate)\b"
    r"|developer instruction|\bmin_p\b|parameter\.\w+|invalid region"
)
_TOO_LARGE = _regex(
    r"\b(payload|request|body|entity)( content| body)?( size| length)? (is too large|too large|exceed)"
)
_BAD_REQUEST = frozenset({400, 406, 413, 415, 422})
_CONTENT_TOO_LARGE = 413


def find_cause(failure: Failure, history: Sequence[Message]) -> Cause | None:
    """Return what the provider did not accept in a request with this history.

    None: the failure has another reason. `history` is what was sent.
    """
    words = failure.detail or failure.message
    match failure.kind:
        case "content_filter":
            return Cause.FILTER
        case "context_length":
            return Cause.SIZE
        case "rate_limit" if not failure.retryable:  # larger than the tokens of a minute
            return Cause.SIZE
        case "model_not_found" | "overloaded" | "auth" if has_part(history, File) and _NO_FILES.search(words):
            return Cause.CONTENT
        case "invalid_request":
            return _cause_of_invalid_request(failure, words, history)
        case _:
            return None


def _cause_of_invalid_request(failure: Failure, words: str, history: Sequence[Message]) -> Cause | None:
    if failure.status_code == _CONTENT_TOO_LARGE or _TOO_LARGE.search(words):
        return Cause.SIZE
    if failure.status_code is None and failure.detail is None:
        return None  # the daemon has not sent the request
    if has_part(history, File) and (_FILES.search(words) or _NO_FILES.search(words)):
        return Cause.CONTENT
    if has_part(history, Reasoning) and _REASONING.search(words):
        return Cause.REASONING
    if failure.status_code is not None and failure.status_code not in _BAD_REQUEST:
        return None
    if _STRUCTURE.search(words):
        return None
    return Cause.CONTENT if _CONTENT.search(words) or not _SETTINGS.search(words) else None


def as_invalid_request(failure: Failure) -> Failure:
    """Return the failure of files that the model does not take, also if it was reported as another one."""
    if failure.kind == "invalid_request":
        return failure
    message = f"{failure.provider} does not accept a file of this chat."
    if failure.detail:
        message = f"{message[:-1]}: {failure.detail}"
    return replace(failure, kind="invalid_request", message=message, retryable=False, retry_after_ms=None)
