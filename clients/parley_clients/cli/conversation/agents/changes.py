"""The command of `parley chat` that shows what has changed in the folders of a chat."""

from parley_clients.cli.commands.undo import file_uri
from parley_clients.cli.conversation.agents.words import split_words
from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.steps import visible

_MAX_LINES = 400


def diff(context: Context, argument: str) -> Outcome:
    """Show the diff, of these files or of all, and only from a message on if its number comes first."""
    words = split_words(argument)
    first = int(words.pop(0)) if words and words[0].isdecimal() and len(words[0]) < 10 else None
    found = context.chat.diff(first, paths=[file_uri(word) for word in words] or None)
    lines = visible(found.text).rstrip("\n").split("\n")
    if lines == [""]:
        return Show("Nothing has changed.")
    more = len(lines) - _MAX_LINES
    rest = [f"… {more} more lines: parley diff shows them."] if more > 0 else []
    cut = ["The diff is cut, at 4 MiB."] if found.is_truncated else []
    return Show("\n".join([*lines[:_MAX_LINES], *rest, *cut]))
