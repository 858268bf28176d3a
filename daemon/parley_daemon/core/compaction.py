"""Compaction: a summary in place of the beginning of a history, and the estimated length of a history."""

from collections.abc import Iterable, Sequence

import msgspec

from parley_daemon.core.agents.content import read_content
from parley_daemon.core.parts import File, Part, Text, ToolCall, ToolResult, count_characters
from parley_daemon.core.records import Message

CHARACTERS_PER_TOKEN = 4
FILE_CHARACTERS = 4_000
_INTRODUCTION = "Summary of this conversation so far:\n\n"


class Summary(msgspec.Struct, frozen=True, gc=False):
    """A user message that replaces all messages of a branch up to `after_id` in later requests."""

    after_id: int
    message: Message


def apply_summaries(branch: Sequence[Message], summaries: Iterable[Summary]) -> tuple[Message, ...]:
    """Return the branch with its newest summary in place of the messages that the summary replaces.

    A question at the end of the branch is never replaced: the model has to get its exact words.
    """
    summaries = tuple(summaries)
    if not summaries:
        return tuple(branch)
    by_end = {summary.after_id: summary for summary in summaries}
    asked = bool(branch) and branch[-1].role == "user"
    for index in range(len(branch) - 1 - asked, -1, -1):
        summary = by_end.get(branch[index].id)
        if summary is not None:
            return (summary.message, *branch[index + 1 :])
    return tuple(branch)


def find_cut(history: Sequence[Message], question: int) -> int | None:
    """Return how many messages of a turn's beginning a summary may replace; None: none.

    `question` is the position of its question. The messages end with the results of tool calls; the newest
    calls with their results stay, and so does up to half of the length of all of them.
    """
    ends = [at + 1 for at in range(question + 1, len(history)) if history[at].role == "tool"][:-1]
    if not ends:
        return None
    limit = count_tokens(history[question:]) // 2
    return next((end for end in ends if count_tokens(history[end:]) <= limit), ends[-1])


def drop_open_questions(branch: Sequence[Message]) -> Sequence[Message]:
    """Return the branch without the unanswered questions at its end."""
    end = len(branch)
    while end and branch[end - 1].role == "user":
        end -= 1
    return branch[:end]


def summary_content(text: str) -> tuple[Part, ...]:
    """Return the content of the message of a summary."""
    return (Text(_INTRODUCTION + text),)


def count_tokens(messages: Iterable[Message]) -> int:
    """Return an estimate of the tokens of these messages, which is more often too low than too high."""
    characters = 0
    for message in messages:
        content = message.content
        if len(content) == 1 and type(text := content[0]) is Text:  # nearly all are
            characters += len(text.text)
        else:
            characters += sum(map(_weigh, content))
    return characters // CHARACTERS_PER_TOKEN


def _weigh(part: Part) -> int:
    """Return how many characters of text a part is worth. A file costs about the same whatever its bytes."""
    if isinstance(part, File):
        return FILE_CHARACTERS
    content = read_content(part.result) if isinstance(part, ToolResult) else None
    return count_characters(part) if content is None else sum(map(_weigh, content))


def transcript(messages: Iterable[Message]) -> str:
    """Return messages as plain text, for a model that summarizes them."""
    return "\n\n".join(
        [
            f"{message.role.upper()}:\n{_message_text(message)}"
            for message in messages
            if _message_text(message)
        ]
    )


def _message_text(message: Message) -> str:
    lines: list[str] = []
    for part in message.content:
        match part:
            case Text(text):
                lines.append(text)
            case ToolCall():
                lines.append(f"[calls {part.tool_name}: {part.args}]")
            case ToolResult():
                lines.append(f"[{part.tool_name} answers: {_result_text(part)}]")
            case _:
                pass
    return "\n".join(lines).strip()


def _result_text(part: ToolResult) -> str:
    """Return a result as text. Of a file, such as an image, only its type is said."""
    content = read_content(part.result)
    if content is None:
        return str(part.result)
    return "\n".join([one.text if isinstance(one, Text) else f"({one.media_type})" for one in content])


def split_text(text: str, characters: int) -> list[str]:
    """Cut a text into pieces of at most so many characters, at line ends where that is possible."""
    cut: list[str] = []
    while len(text) > characters:
        end = text.rfind("\n", characters // 2, characters) + 1 or characters
        cut.append(text[:end])
        text = text[end:]
    return [*cut, text] if text else cut
