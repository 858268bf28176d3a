"""Tab completion at the prompt: commands, and what belongs to them."""

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from parley_clients.chat import Chat
from parley_clients.cli.conversation.agents.offers import describe_argument, is_prompt
from parley_clients.cli.conversation.commands import COMMANDS
from parley_clients.cli.conversation.context.names import complete_reference
from parley_clients.cli.conversation.descriptions import excerpt
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import short_id
from parley_clients.client import Client
from parley_clients.errors import ParleyError
from parley_clients.results import Json

MODES = {
    "off": "it has no tools",
    "plan": "it looks, and changes nothing",
    "ask": "it asks before it changes or runs anything",
    "edits": "it changes files unasked, and asks before it runs anything",
    "auto": "it also runs commands unasked, in a sandbox that holds",
}
"""The modes of a chat, and what the model may do in each."""

_CACHE_SECONDS = 10.0
_MAX_CHATS = 100

Word = tuple[str, str]
"""A word and what it means."""


class CommandCompleter(Completer):
    """Completes commands and their arguments, for prompt_toolkit, whose interface is a base class.

    `chat` returns the chat that is shown. Lists from the daemon are kept for _CACHE_SECONDS.
    """

    def __init__(self, client: Client, chat: Callable[[], Chat]) -> None:
        self._client = client
        self._chat = chat
        self._paths = PathCompleter(expanduser=True)
        self._cache: dict[str, tuple[float, list[Word]]] = {}
        self._offered: list[Json] = []
        self._sources: dict[str, Callable[[], Awaitable[list[Word]]]] = {
            "/model": self._models,
            "/new": self._models,
            "/retry": self._models,
            "/mode": self._modes,
            "/open": self._chats,
            "/branch": self._branches,
            "/queue": self._queue,
            "/mcp": self._servers,
            "prompts": self._prompts,
            "resources": self._resources,
        }

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Return nothing: completions come from `get_completions_async`."""
        return ()

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Yield the completions of the word at the cursor."""
        text = document.text_before_cursor
        name, space, argument = text.partition(" ")
        last = re.split(r"\s", text)[-1]
        if not text.startswith("/") and last.startswith("@"):
            for completion in _matching(await self._words("resources"), last):
                yield completion
            for completion in await complete_reference(self._chat(), last):
                yield completion
        if not text.startswith("/") or "\n" in text:
            return
        if not space:
            shown = [(name, command) for name, command in COMMANDS.items() if command.help]
            # A space after it if an argument can follow.
            words = [(name + " " * (command.usage != name), command.help) for name, command in shown]
            if ":" in name:
                words = await self._words("prompts")
            for completion in _matching(words, text):
                yield completion
        elif name == "/attach":
            last = argument.rpartition(" ")[2]
            if last.startswith("@"):
                for completion in _matching(await self._words("resources"), last):
                    yield completion
            last = last if not Path(argument).expanduser().exists() else argument
            for completion in self._paths.get_completions(Document(last, len(last)), complete_event):
                yield completion
        elif is_prompt(name):
            for completion in _matching(await self._arguments(name, argument), last):
                yield completion
        elif name in self._sources:
            for completion in _matching(await self._words(name), argument.rpartition(" ")[2]):
                yield completion

    async def _words(self, name: str) -> list[Word]:
        read_at, words = self._cache.get(name, (0.0, []))
        if not read_at or time.monotonic() - read_at > _CACHE_SECONDS or name in ("/queue", "/branch"):
            try:
                words = await self._sources[name]()
            except (ParleyError, TimeoutError):
                return words
            self._cache[name] = (time.monotonic(), words)
        return words

    async def _modes(self) -> list[Word]:
        return list(MODES.items())

    async def _models(self) -> list[Word]:
        raw = (await self._client.models(timeout=5)).raw
        models = [
            model for provider in raw["providers"] if provider["available"] for model in provider["models"]
        ]
        return [(model["id"], model["displayName"]) for model in models]

    async def _chats(self) -> list[Word]:
        page = await self._client.list_chats(archived=False, limit=_MAX_CHATS, timeout=5)
        return [(short_id(record.id), record.title or "(untitled)") for record in page.chats]

    async def _branches(self) -> list[Word]:
        points = await self._chat().branches(timeout=5)
        return [(str(id), f"instead of {point.message_id}") for point in points for id in point.siblings]

    async def _servers(self) -> list[Word]:
        found = (await self._client.mcp.list(self._chat().id, timeout=5)).servers
        actions = [("restart", "start one now, again if it runs"), ("auth", "authorize one in a browser")]
        return actions + [(one["name"], one["state"]) for one in found]

    async def _arguments(self, command: str, typed: str) -> list[Word]:
        """Return the arguments of a prompt that were not typed yet."""
        await self._words("prompts")  # reads them, unless they were read a moment ago
        return [
            (f"{one['name']}=", describe_argument(one))
            for prompt in self._offered
            if prompt["command"] == command
            for one in prompt["arguments"]
            if f" {one['name']}=" not in f" {typed.rpartition(' ')[0]}"
        ]

    async def _prompts(self) -> list[Word]:
        raw = (await self._client.mcp.prompts(self._chat().id, timeout=5)).raw
        self._offered = raw["prompts"]
        return [
            (one["command"] + " " * bool(one["arguments"]), one["description"] or "")
            for one in raw["prompts"]
        ]

    async def _resources(self) -> list[Word]:
        raw = (await self._client.mcp.resources(self._chat().id, timeout=5)).raw
        return [(one["reference"], one["description"] or one["name"]) for one in raw["resources"]]

    async def _queue(self) -> list[Word]:
        queued = (await self._chat().queue.list(timeout=5)).messages
        actions = [("rm", "remove a message"), ("promote", "run it now"), ("edit", "change its text")]
        return actions + [(str(number), excerpt(one["content"])) for number, one in enumerate(queued, 1)]


def _matching(words: Iterable[Word], current: str) -> list[Completion]:
    return [
        Completion(word, -len(current), display_meta=one_line(meaning))
        for word, meaning in words
        if word.startswith(current)
    ]
