"""Messages that a provider refused: which failures mean that, and what later requests leave out.

Theory of operation. The provider gets the whole history with every question. A message that it cannot take
(an image for a model without vision, a text for its content filter, a body that is too large) would make
every later question fail as well. So such a message is marked (`Message.refused`), and requests leave it
out, with what was answered to it, until it is answered again or edited.

Which message is it? Everything before the present question was sent before, so it is normally the question.
Two other cases are tried first, with one more request (engine/turns/refusal_causes.py tells them apart):

- Something in the earlier messages, because another model is asked now: files that this model cannot take,
  or reasoning that it does not accept. The request is repeated without the files or the reasoning.
- An earlier question that no model has accepted: it was interrupted, or its answer was cut off by a content
  filter. The request is repeated without such exchanges; if that works, these are marked.
"""

from collections.abc import Container, Iterable, Sequence
from enum import Enum

from msgspec.structs import replace

from parley_daemon.core.agents.content import read_content, write_content
from parley_daemon.core.parts import File, Part, Reasoning, Text, ToolResult, count_characters
from parley_daemon.core.records import Failure, Message, Turn


class Cause(Enum):
    """What a provider did not accept."""

    CONTENT = "content"
    SIZE = "size"
    FILTER = "filter"
    REASONING = "reasoning"


ADVICE = (
    "The message stays in the chat, but later requests leave it out: edit it, or retry it with another model."
)
"""What becomes of a message that is marked, and what to do."""

ADVICE_ON_LENGTH = (
    "The message stays in the chat, but later requests leave it out: shorten it, or retry it with a model"
    " with a larger context."
)
"""The same for a message that is too long for the model."""


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


def has_part(history: Iterable[Message], kind: type[Part]) -> bool:
    """Return whether a message of the history has a part of this kind."""
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
    if has_part(earlier_messages(history, questions), kind):
        return True
    return cause is Cause.CONTENT and any(map(_has_result_files, history))


def omit_parts(
    history: Sequence[Message], questions: Sequence[int], causes: Container[Cause]
) -> Sequence[Message]:
    """Return the history with the messages before the questions without files, or without reasoning.

    The results of tools are without files everywhere: no person has asked with them. A note stands in place
    of each file, so that the model knows of it.
    """
    earlier = earlier_messages(history, questions)
    later = [
        _without_parts(message, causes) if Cause.CONTENT in causes and message.role == "tool" else message
        for message in history[len(earlier) :]
    ]
    return (*[_without_parts(message, causes) for message in earlier], *later)


def _has_result_files(message: Message) -> bool:
    return message.role == "tool" and any(_without_files(part) is not part for part in message.content)


def _without_files(part: Part) -> Part:
    """Return a result of a tool without the files in its content; any other part as it is."""
    content = read_content(part.result) if isinstance(part, ToolResult) else None
    if content is None or not any(isinstance(item, File) for item in content):
        return part
    kept = [_note(item) if isinstance(item, File) else item for item in content]
    return replace(part, result=write_content(kept))


def _note(file: File) -> Text:
    return Text(f"[A file of the type {file.media_type}, which is not sent to this model.]")


def _without_parts(message: Message, causes: Container[Cause]) -> Message:
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, File) and Cause.CONTENT in causes:
            parts.append(_note(part))
        elif isinstance(part, ToolResult) and Cause.CONTENT in causes:
            parts.append(_without_files(part))
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


def add_advice(failure: Failure) -> Failure:
    """Return the failure of a message that is marked: it says what becomes of the message."""
    return _extend(failure, ADVICE_ON_LENGTH if failure.kind == "context_length" else ADVICE)


def add_advice_on_size(failure: Failure) -> Failure:
    """Return the failure of a chat that is too large, not only by its question."""
    model = "a model with a larger context" if failure.kind == "context_length" else "another model"
    return _extend(failure, f"Use {model}, or begin a new chat.")


def _extend(failure: Failure, sentence: str) -> Failure:
    ending = "" if failure.message.endswith((".", "!", "?", "…")) else "."
    return replace(failure, message=f"{failure.message}{ending} {sentence}")
