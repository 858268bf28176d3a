"""Which part of a history a summary stands for, and how long a history is. Knows no model and no store."""

from collections.abc import Iterable, Sequence

import msgspec

from parley_daemon.core.parts import Part, Text, ToolCall, ToolResult, weight
from parley_daemon.core.records import Message

CHARACTERS_PER_TOKEN = 4
_INTRODUCTION = "Summary of this conversation so far:\n\n"


class Summary(msgspec.Struct, frozen=True, gc=False):
    """What stands for all messages of a branch up to `after_id` in later requests. `message` is a user's."""

    after_id: int
    message: Message


def apply_summaries(branch: Sequence[Message], summaries: Iterable[Summary]) -> tuple[Message, ...]:
    """Return the branch with its newest summary in the place of what that stands for.

    A question at its end is never part of that: it has to be asked as it was said.
    """
    by_end = {summary.after_id: summary for summary in summaries}
    asked = bool(branch) and branch[-1].role == "user"
    for index in range(len(branch) - 1 - asked, -1, -1):
        summary = by_end.get(branch[index].id)
        if summary is not None:
            return (summary.message, *branch[index + 1 :])
    return tuple(branch)


def drop_open_questions(branch: Sequence[Message]) -> Sequence[Message]:
    """Return the branch without the questions at its end that nobody has answered."""
    end = len(branch)
    while end and branch[end - 1].role == "user":
        end -= 1
    return branch[:end]


def summary_content(text: str) -> tuple[Part, ...]:
    """Return the content of a summary's message."""
    return (Text(_INTRODUCTION + text),)


def tokens(messages: Iterable[Message]) -> int:
    """Return about how many tokens these messages are, rather too few than too many."""
    characters = sum([weight(part) for message in messages for part in message.content])
    return characters // CHARACTERS_PER_TOKEN


def transcript(messages: Iterable[Message]) -> str:
    """Return messages as plain text for a model to summarise."""
    return "\n\n".join(
        [f"{message.role.upper()}:\n{_said(message)}" for message in messages if _said(message)]
    )


def _said(message: Message) -> str:
    said: list[str] = []
    for part in message.content:
        match part:
            case Text(text):
                said.append(text)
            case ToolCall():
                said.append(f"[calls {part.tool_name}: {part.args}]")
            case ToolResult():
                said.append(f"[{part.tool_name} answers: {part.result}]")
            case _:
                pass
    return "\n".join(said).strip()


def pieces(text: str, characters: int) -> list[str]:
    """Cut a text into pieces of at most so many characters, at line ends where that is possible."""
    cut: list[str] = []
    while len(text) > characters:
        end = text.rfind("\n", characters // 2, characters) + 1 or characters
        cut.append(text[:end])
        text = text[end:]
    return [*cut, text] if text else cut
