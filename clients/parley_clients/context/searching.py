"""What is found in the contexts of chats and in folders: `chat.search_context`, `client.context`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from parley_clients.params import call_params
from parley_clients.results import Json, Result

if TYPE_CHECKING:
    from parley_clients.connection.session import Session
    from parley_protocol.models.context import ContextSearchResult, ContextStatusResult  # noqa: F401


class FoundContext(Result["ContextSearchResult"]):
    """Passages that fit a question, the best first."""

    @property
    def sources(self) -> list[Json]:
        """The passages, as JSON: `url`, `startLine`, `endLine`, `text`, `score`, `contentHash`, `stale`."""
        return self.raw["sources"]

    @property
    def state(self) -> str:
        """How complete the index is: "none", "indexing", "partial" or "ready"."""
        return self.raw["state"]


class ContextStatus(Result["ContextStatusResult"]):
    """How far folders are indexed."""

    @property
    def roots(self) -> list[Json]:
        """The folders, as JSON: `uri`, `state`, `files`, `chunks`, `bytes`, `skipped`, `updatedAt`."""
        return self.raw["roots"]


class Contexts:
    """The index of folders (`client.context`)."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    async def search(
        self,
        queries: str | Sequence[str],
        *,
        roots: Sequence[str],
        limit: int | None = None,
        budget_tokens: int | None = None,
        timeout: float | None = None,
    ) -> FoundContext:
        """Search folders, given as URIs, with 1 to 4 phrasings of one question.

        Raises:
            FolderUnreadableError: a folder cannot be used, or cannot be searched.
        """
        params = search_params(queries, limit, budget_tokens)
        return await find_context(self._session, {**params, "roots": [*roots]}, timeout)

    async def status(self, root: str | None = None, *, timeout: float | None = None) -> ContextStatus:
        """Return what is known of a folder; None: of those of the chats in use, and those searched before."""
        raw = await self._session.call("context/status", call_params(root=root), timeout)
        return ContextStatus("context/status", raw)


def search_params(queries: str | Sequence[str], limit: int | None, budget_tokens: int | None) -> Json:
    """Return the params that say what to search for."""
    phrasings = [queries] if isinstance(queries, str) else [*queries]
    return call_params(queries=phrasings, limit=limit, budgetTokens=budget_tokens)


async def find_context(session: "Session", params: Json, timeout: float | None) -> FoundContext:
    """Call context/search."""
    raw: Any = await session.call("context/search", params, timeout)
    return FoundContext("context/search", raw)
