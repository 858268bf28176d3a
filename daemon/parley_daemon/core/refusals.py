"""Messages that a provider refused: which failures mean that, and what later requests leave out.

Theory of operation. The provider gets the whole history with every question. A message that it cannot take
(an image for a model without vision, a text for its content filter, a body that is too large) would make
every later question fail as well. So such a message is marked (`Message.refused`), and requests leave it
out, with what was answered to it, until it is answered again or edited.

Which message is it? Everything before the present question was sent before, so it is normally the question.
Two other cases are tried first, with one more request (`find_cause` names them):

- Something in the earlier messages, because another model is asked now: files that this model cannot take,
  or reasoning that it does not accept. The request is repeated without the files or the reasoning.
- An earlier question that no model has accepted: it was interrupted, or its answer was cut off by a content
  filter. The request is repeated without such exchanges; if that works, these are marked.

A failure is not the message's fault if it names a setting, the model, the key, or the structure of the
history. When the provider gives no usable reason, the message is marked: a person can have it answered again
with one call, but a message that is wrongly sent again makes the chat unusable.
"""

import re
from collections.abc import Container, Iterable, Sequence
from enum import Enum

from msgspec.structs import replace

from parley_daemon.core.parts import File, Part, Reasoning, Text, count_characters
from parley_daemon.core.records import Failure, Message, Turn


class Cause(Enum):
    """What a provider did not accept."""

    CONTENT = "content"
    SIZE = "size"
    FILTER = "filter"
    REASONING = "reasoning"


ADVICE = (
    "The message stays in the chat, but later requests leave it out. Edit it, retry it (perhaps with another "
    "model), or go on without it."
)


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
    rf"((not |n't |un)support\w*|endpoints? found that support).{{0,60}}{_FILE}"
    rf"|{_FILE}.{{0,60}}((not|n't) support|unsupported|not (available|enabled|allowed))"
    r"|missing data required for image|mmproj"
)
# The path of a message's content as validators write it: "messages[3].content", "messages.0.content.1".
_CONTENT = _regex(
    r"\b(messages?|input)\W{0,3}\d+\W{0,4}content|\bcontents\W{0,3}\d+\W{0,4}parts"
    r"|string (is )?too long|string_above_max_length|special token|unknown variant|\bcontent must be\b"
)
_REASONING = _regex(r"signature|thinking|reasoning|thought|encrypted[ _]content")
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
    r"|deployment|permission|verified|organi[sz]ation"
)
_BAD_REQUEST = frozenset({400, 406, 413, 415, 422})
_TOO_LARGE = 413


def drop_refused(history: Sequence[Message]) -> Sequence[Message]:
    """Return the history without refused messages and what was answered to them."""
    if not any(message.refused for message in history):
        return history
    return _drop_exchanges(history, {message.id for message in history if message.refused is not None})


def _drop_exchanges(history: Iterable[Message], questions: Container[int]) -> tuple[Message, ...]:
    """Return the history without these questions, and the answers and tool results that follow them."""
    kept: list[Message] = []
    is_dropping = False
    for message in history:
        if message.role not in ("assistant", "tool"):
            is_dropping = message.role == "user" and message.id in questions
        if not is_dropping:
            kept.append(message)
    return tuple(kept)


def find_questions(history: Sequence[Message], turn: Turn) -> tuple[int, ...]:
    """Return the ids of the turn's questions that have no answer yet, oldest first.

    In the middle of a tool round there is none; then it is the turn's last question, whose tools were called.
    """
    own = [
        (at, message.id)
        for at, message in enumerate(history)
        if message.role == "user" and (message.id == turn.user_message_id or message.turn_id == turn.id)
    ]
    answered = max([at for at, message in enumerate(history) if message.role == "assistant"], default=-1)
    return tuple([id for at, id in own if at > answered] or [id for _, id in own[-1:]])


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
        case "rate_limit" if not failure.retryable and "too large" in words:  # than a minute's tokens
            return Cause.SIZE
        case "model_not_found" | "overloaded" if _has(history, File) and _NO_FILES.search(words):
            return Cause.CONTENT
        case "invalid_request":
            return _cause_of_invalid_request(failure, words, history)
        case _:
            return None


def _cause_of_invalid_request(failure: Failure, words: str, history: Sequence[Message]) -> Cause | None:
    if failure.status_code == _TOO_LARGE:
        return Cause.SIZE
    if failure.status_code is None and failure.detail is None:
        return None  # the daemon has not sent the request
    if _has(history, File) and _FILES.search(words):
        return Cause.CONTENT
    if failure.status_code is not None and failure.status_code not in _BAD_REQUEST:
        return None
    if _has(history, Reasoning) and _REASONING.search(words):
        return Cause.REASONING
    if _STRUCTURE.search(words):
        return None
    return Cause.CONTENT if _CONTENT.search(words) or not _SETTINGS.search(words) else None


def _has(history: Iterable[Message], kind: type[Part]) -> bool:
    return any(isinstance(part, kind) for message in history for part in message.content)


def is_most_of(history: Sequence[Message], ids: Container[int]) -> bool:
    """Return whether these messages have at least half of the characters of a history."""
    sizes = [(message.id in ids, sum(map(count_characters, message.content))) for message in history]
    own = sum([size for is_own, size in sizes if is_own])
    return 2 * own >= sum([size for _, size in sizes])


# --------------------------------------------------------- requests without a part of the history


def earlier_messages(history: Sequence[Message], questions: Sequence[int]) -> Sequence[Message]:
    """Return the messages before the first of the questions."""
    first = next((at for at, message in enumerate(history) if message.id in questions), len(history))
    return history[:first]


def has_omittable(history: Sequence[Message], questions: Sequence[int], cause: Cause) -> bool:
    """Return whether the messages before the questions have parts that can be left out for this cause."""
    kind = Reasoning if cause is Cause.REASONING else File
    return _has(earlier_messages(history, questions), kind)


def omit_parts(
    history: Sequence[Message], questions: Sequence[int], causes: Container[Cause]
) -> Sequence[Message]:
    """Return the history with the messages before the questions without files, or without reasoning.

    A note stands in place of each file, so that the model knows of it.
    """
    earlier = earlier_messages(history, questions)
    return (*[_without_parts(message, causes) for message in earlier], *history[len(earlier) :])


def _without_parts(message: Message, causes: Container[Cause]) -> Message:
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, File) and Cause.CONTENT in causes:
            parts.append(Text(f"[A file of the type {part.media_type}, which is not sent to this model.]"))
        elif not (isinstance(part, Reasoning) and Cause.REASONING in causes):
            parts.append(part)
    return (
        message
        if len(parts) == len(message.content) and Cause.CONTENT not in causes
        else replace(message, content=tuple(parts))
    )


def find_suspects(
    history: Sequence[Message], questions: Sequence[int], filtered_turns: Container[str]
) -> tuple[int, ...]:
    """Return the ids of earlier questions that no model has accepted as far as is known.

    These are questions without an answer, and those whose turn ended at a content filter.
    """
    earlier = earlier_messages(history, questions)
    suspects: list[int] = []
    for message, after in zip(earlier, history[1:], strict=False):
        if message.role != "user" or message.turn_id is None:
            continue  # an answer, a restored message, or a summary
        if after.role == "user" or (after.turn_id or "") in filtered_turns:
            suspects.append(message.id)
    return tuple(suspects)


def leave_out(history: Sequence[Message], suspects: Container[int]) -> Sequence[Message]:
    """Return the history without these questions and what was answered to them."""
    return _drop_exchanges(history, suspects)


# ------------------------------------------------------------------------------ what is said


def as_invalid_request(failure: Failure) -> Failure:
    """Return the failure of files that the model does not take, also if it was reported as another one."""
    if failure.kind == "invalid_request":
        return failure
    message = f"{failure.provider} does not accept a file of this chat."
    if failure.detail:
        message = f"{message[:-1]}: {failure.detail}"
    return replace(failure, kind="invalid_request", message=message, retryable=False, retry_after_ms=None)


def add_advice(failure: Failure) -> Failure:
    """Return the failure of a message that is marked: it says what becomes of the message."""
    ending = "" if failure.message.endswith((".", "!", "?", "…")) else "."
    return replace(failure, message=f"{failure.message}{ending} {ADVICE}")
