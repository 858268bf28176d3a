"""Tab completion of words after `@` in a message: files and definitions in the folders of the chat.

A file is completed to its path, `@src/work.py`, and a definition to its line, `@src/work.py:42`. What they
mean in a message is in `references`.
"""

from prompt_toolkit.completion import Completion

from parley_clients.chat import Chat
from parley_clients.cli.messages import one_line
from parley_clients.errors import ParleyError

_SECONDS = 3.0


async def complete_reference(chat: Chat, word: str) -> list[Completion]:
    """Return the completions of a word that begins with @: files and definitions in the chat's folders."""
    typed = word[1:]
    try:
        files = await chat.find_names(typed, "file", timeout=_SECONDS)
        symbols = await chat.find_names(typed, "symbol", timeout=_SECONDS) if typed else []
    except (ParleyError, TimeoutError):
        return []
    found = [(f"@{one['path']}", "") for one in files if " " not in one["path"]]
    found += [
        (f"@{one['path']}:{one['line']}", one_line(one["name"])) for one in symbols if " " not in one["path"]
    ]
    return [Completion(text, -len(word), display_meta=meaning) for text, meaning in found]
