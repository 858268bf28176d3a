"""The search in the context of chats: for the messages of a person, for clients, and before each model call.

Theory of operation. A message is searched for when it is sent, before it is stored: what is found is stored
with it, so that an event, a response, a fork and an export have the same sources. An index that has nothing
yet is waited for, but not longer than WAIT_SECONDS; what was complete then stands in the message. Before each
model call the sources of the history are compared with the files (see `core.retrieval`).

The index is outside of this process, maybe on another machine. Whatever is wrong with it, a turn goes on.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from time import perf_counter
from typing import Literal

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core import retrieval
from parley_daemon.core.agents.globs import is_below, matches_any, path_of_uri, uri_of_path
from parley_daemon.core.parts import Part, Source
from parley_daemon.core.records import AgentSettings, Chat, Context, Message, RetrievalNote
from parley_daemon.engine.agents.services import PolicyServices
from parley_daemon.engine.agents.toolset import load_policy
from parley_daemon.engine.errors import ContextUnavailableError, FolderUnreadableError
from parley_daemon.ports.context import (
    ContextError,
    ContextIndex,
    ContextScope,
    Found,
    NamedPlace,
    Passage,
    RootStatus,
)
from parley_daemon.ports.store import StoreUnavailableError

log = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""How long a message waits for the search, and for an index that has nothing yet."""

VERIFY_SECONDS = 2.0
"""How long a model call waits for the comparison of its sources with their files."""

SOURCES = 10
"""The most sources that are found for one message."""

BUDGET_TOKENS = 4_000
"""The most tokens of the sources of one message. With a small model, an eighth of what it can read."""

BYTES_PER_TOKEN = 4

_POLL_SECONDS = 0.05
_VERIFIED_AT_ONCE = 16
_ROOTS = 256


class FoundSources(msgspec.Struct, frozen=True, gc=False):
    """The answer to a search. `stale`: those of the sources that are not in their files any more."""

    sources: tuple[Source, ...]
    stale: frozenset[str]
    found: Found


class Retrieval:
    """Searches the contexts of all chats. `index` None: this daemon has none."""

    def __init__(self, index: ContextIndex | None, services: PolicyServices) -> None:
        self._index = index
        self._services = services
        self._searched: OrderedDict[tuple[str, str], None] = OrderedDict()

    # ------------------------------------------------------------------- for messages

    async def add_sources(
        self, chat: Chat, content: tuple[Part, ...], settings: AgentSettings
    ) -> tuple[tuple[Part, ...], RetrievalNote | None]:
        """Return a message with the sources that fit it, and what came of the search; None: none was made.

        `settings` are those of its turn. What the person referred to stays, and is not found again.
        """
        if chat.context.is_empty or self._index is None:
            return content, None
        if retrieval.find_mode(settings.with_defaults(chat.settings.agent), chat) != "auto":
            return content, None
        question = retrieval.find_question(content)
        if question is None:
            return content, None
        began = perf_counter()
        found: Found | None = None
        problem: str | None = None
        passages: list[Passage] = []
        try:
            with anyio.move_on_after(WAIT_SECONDS):
                scope = await self._scope_of(chat)
                if not scope.roots and not scope.files:
                    return content, RetrievalNote("none", 0.0, "The folders of the chat cannot be used.")
                found = await self._search_patiently(scope, question, chat)
                passages = await self._verify_found(scope, found.passages, question, chat)
        except (ContextError, StoreUnavailableError) as error:
            problem = str(error)
        except Exception:  # the boundary to an index that may come from elsewhere
            log.exception("the context of chat %s cannot be searched", chat.id)
            problem = "The search has failed unexpectedly. The log of the daemon has the details."
        took_ms = round((perf_counter() - began) * 1000, 1)
        state = "indexing" if found is None and problem is None else "none" if found is None else found.state
        fresh = [one for one in passages if not _is_referred_to(one, content)]
        sources = [_source(one, f"S{number}") for number, one in enumerate(fresh, start=1)]
        return (*content, *sources), RetrievalNote(state, took_ms, problem)

    async def _search_patiently(self, scope: ContextScope, question: str, chat: Chat) -> Found:
        """Return what is found, after a moment if the index has nothing yet."""
        assert self._index is not None
        end = anyio.current_time() + 0.75 * WAIT_SECONDS
        while True:
            found = await self._index.search(scope, (question,), limit=SOURCES, max_bytes=_budget_of(chat))
            is_empty = not found.passages and found.state in ("none", "indexing")
            if not is_empty or anyio.current_time() >= end:
                return found
            await anyio.sleep(_POLL_SECONDS)

    async def _verify_found(
        self, scope: ContextScope, passages: Sequence[Passage], question: str, chat: Chat
    ) -> list[Passage]:
        """Return passages as they are now. If one of them has just gone, the search is made once more."""
        assert self._index is not None
        now = await self._verify(scope, passages)
        if None in now:
            found = await self._index.search(scope, (question,), limit=SOURCES, max_bytes=_budget_of(chat))
            now = await self._verify(scope, found.passages)
        return [one for one in now if one is not None]

    async def _verify(self, scope: ContextScope, passages: Sequence[Passage]) -> list[Passage | None]:
        assert self._index is not None
        index = self._index
        results: list[Passage | None] = [None] * len(passages)
        slots = anyio.Semaphore(_VERIFIED_AT_ONCE)

        async def verify(at: int, passage: Passage) -> None:
            if not _is_in(scope, passage.path):
                return
            async with slots:
                try:
                    results[at] = await index.verify(scope, passage)
                except ContextError:
                    results[at] = None

        async with anyio.create_task_group() as tasks:
            for at, passage in enumerate(passages):
                tasks.start_soon(verify, at, passage)
        return results

    # ---------------------------------------------------------------- before a model call

    async def refresh(self, chat: Chat, history: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return a history as a model gets it: its sources as they are in their files now.

        What is not there any more, or cannot be compared in time, is left out, and so are old ones.
        """
        if chat.context.is_empty or self._index is None:
            return history
        sources = retrieval.find_retrieved(history)
        if not sources:
            return history
        present: dict[Source, Source | None] = dict.fromkeys(sources)
        try:
            with anyio.move_on_after(VERIFY_SECONDS):
                scope = await self._scope_of(chat)
                kept = {source: _passage(scope, source) for source in retrieval.drop_old(sources)}
                passages = list(dict.fromkeys(kept.values()))  # questions often find the same
                found = dict(zip(passages, await self._verify(scope, passages), strict=True))
                for source, passage in kept.items():
                    now = found[passage]
                    present[source] = None if now is None else _moved(source, now)
        except StoreUnavailableError as error:
            log.warning("the sources of chat %s are left out: %s", chat.id, error)
        except Exception:  # the boundary to an index that may come from elsewhere
            log.exception("the sources of chat %s are left out", chat.id)
        return retrieval.with_present_sources(history, present)

    # ----------------------------------------------------------------------- for clients

    async def search(
        self,
        owner: str,
        chat: Chat | None,
        roots: Sequence[str],
        queries: Sequence[str],
        *,
        limit: int,
        budget_tokens: int,
    ) -> FoundSources:
        """Search the context of a chat, or folders, which are given as URIs.

        Raises:
            FolderUnreadableError: a folder cannot be used.
            ContextUnavailableError: the context cannot be searched.
            StoreUnavailableError: the rules cannot be read.
        """
        if self._index is None:
            raise ContextUnavailableError("This daemon has no index.")
        if chat is None:
            chat = Chat("", owner, "", "", context=Context(repositories=tuple(roots)))
        workspace = await self._services.toolbox.workspace(chat)
        if workspace.problem is not None and not (chat.context.files and not chat.context.repositories):
            raise FolderUnreadableError(workspace.problem)
        scope = await self._scope_of(chat)
        try:
            found = await self._index.search(
                scope, queries, limit=limit, max_bytes=budget_tokens * BYTES_PER_TOKEN
            )
            passages = [one for one in found.passages if _is_in(scope, one.path)]
            now = await self._verify(scope, passages)
        except ContextError as error:
            raise ContextUnavailableError(str(error)) from error
        sources: list[Source] = []
        stale: set[str] = set()
        for number, (passage, present) in enumerate(zip(passages, now, strict=True), start=1):
            sources.append(_source(present or passage, f"S{number}"))
            if present is None:
                stale.add(f"S{number}")
        return FoundSources(tuple(sources), frozenset(stale), found)

    async def find_names(
        self, chat: Chat, text: str, kind: Literal["file", "symbol"], *, limit: int
    ) -> Sequence[NamedPlace]:
        """Return files or definitions in the context of a chat, see ContextIndex. Without folders: none.

        Raises:
            ContextUnavailableError: the context cannot be looked through.
            StoreUnavailableError: the rules cannot be read.
        """
        if self._index is None:
            raise ContextUnavailableError("This daemon has no index.")
        if chat.context.is_empty:
            return ()
        scope = await self._scope_of(chat)
        try:
            found = await self._index.find_names(scope, text, kind, limit=limit)
        except ContextError as error:
            raise ContextUnavailableError(str(error)) from error
        return [one for one in found if _is_in(scope, one.path)]

    async def status(self, owner: str, uris: Sequence[str]) -> Sequence[RootStatus]:
        """Return what is known of folders, given as URIs, and of those that were searched for this owner.

        Raises:
            ContextUnavailableError: it cannot be found out.
        """
        if self._index is None:
            raise ContextUnavailableError("This daemon has no index.")
        chat = Chat("", owner, "", "", context=Context(repositories=tuple(dict.fromkeys(uris))))
        workspace = await self._services.toolbox.workspace(chat)
        searched = [root for one, root in self._searched if one == owner]
        try:
            return await self._index.status(tuple(dict.fromkeys((*workspace.roots, *searched))))
        except ContextError as error:
            raise ContextUnavailableError(str(error)) from error

    async def status_of(self, owner: str, uri: str) -> Sequence[RootStatus]:
        """Return what is known of one folder.

        Raises:
            FolderUnreadableError: it cannot be used.
            ContextUnavailableError: it cannot be found out.
        """
        if self._index is None:
            raise ContextUnavailableError("This daemon has no index.")
        chat = Chat("", owner, "", "", context=Context(repositories=(uri,)))
        workspace = await self._services.toolbox.workspace(chat)
        if not workspace.roots:
            raise FolderUnreadableError(workspace.problem or "The folder cannot be used.")
        try:
            return await self._index.status(workspace.roots)
        except ContextError as error:
            raise ContextUnavailableError(str(error)) from error

    async def aclose(self) -> None:
        """Stop the index."""
        if self._index is not None:
            await self._index.aclose()

    # ---------------------------------------------------------------------------- scopes

    async def _scope_of(self, chat: Chat) -> ContextScope:
        """Return where to search for a chat: what rules withhold from it is left out.

        Raises:
            StoreUnavailableError: the rules cannot be read.
        """
        from parley_daemon.core.agents.policy.withheld import (
            RETRIEVAL_NAMES,  # few chats need the policy
            withheld_globs,
        )

        policy = await load_policy(self._services, chat, chat.settings.agent)
        for root in policy.workspace.roots:
            self._searched[chat.owner, root] = None
        while len(self._searched) > _ROOTS:
            self._searched.popitem(last=False)
        return make_scope(
            chat.owner,
            policy.workspace.roots,
            chat.context,
            withheld_globs(policy.rules, policy.facts, *RETRIEVAL_NAMES),
        )


def make_scope(
    owner: str, roots: tuple[str, ...], context: Context, withheld: tuple[str, ...]
) -> ContextScope:
    """Return where to search for a chat with this context."""
    files = [path for path in map(path_of_uri, context.files) if path is not None]
    return ContextScope(owner, roots, context.include, context.exclude, tuple(files), withheld)


def _budget_of(chat: Chat) -> int:
    """Return the most bytes of the sources of one message."""
    limit = chat.usage.context_limit
    tokens = BUDGET_TOKENS if limit is None else min(BUDGET_TOKENS, limit // 8)
    return tokens * BYTES_PER_TOKEN


def _is_referred_to(passage: Passage, content: Sequence[Part]) -> bool:
    """Return whether a person referred to all lines of a passage."""
    for part in content:
        if isinstance(part, Source) and path_of_uri(part.url) == passage.path:
            first, last = part.start_line or 1, part.end_line
            if first <= passage.start_line and (last is None or passage.end_line <= last):
                return True
    return False


def _source(passage: Passage, id: str) -> Source:
    inner = passage.path[len(passage.root) :].lstrip("/") if passage.root else ""
    return Source(
        id,
        uri_of_path(passage.path),
        inner or passage.path.rpartition("/")[2],
        passage.text,
        passage.start_line,
        passage.end_line,
        passage.score,
        passage.content_hash,
        "retrieval",
    )


def _passage(scope: ContextScope, source: Source) -> Passage:
    path = path_of_uri(source.url) or ""
    root = next((one for one in scope.roots if is_below(path, one)), "")
    return Passage(
        path=path,
        root=root,
        start_line=source.start_line or 1,
        end_line=source.end_line or 1,
        text=source.text or "",
        content_hash=source.content_hash or "",
        score=0.0,
    )


def _is_in(scope: ContextScope, path: str) -> bool:
    """Return whether a file lies in the context as it is now, and no rule withholds it.

    An index does not give what is withheld. It is checked all the same: an index may come from elsewhere.
    """
    is_inside = path in scope.files or any(is_below(path, root) for root in scope.roots)
    return is_inside and not matches_any(scope.withheld, path)


def _moved(source: Source, passage: Passage) -> Source:
    if (passage.start_line, passage.end_line) == (source.start_line, source.end_line):
        return source
    return replace(source, start_line=passage.start_line, end_line=passage.end_line)
