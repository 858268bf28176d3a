"""What a search found: hits with their chats, page by page."""

from typing import TYPE_CHECKING

from parley_clients.results import Json, Result

if TYPE_CHECKING:
    from parley_protocol.models.chats import ChatSearchResult

    _SearchResult = Result[ChatSearchResult]
else:
    _SearchResult = Result


class Hit:
    """A message that was found, or a chat by its title: then `message_id` is None."""

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def chat_id(self) -> str:
        """The chat that it is in."""
        return self.raw["chatId"]

    @property
    def message_id(self) -> int | None:
        """The message; it may be on any branch of the chat."""
        return self.raw["messageId"]

    @property
    def title(self) -> str | None:
        """The chat's title."""
        return self.raw["title"]

    @property
    def snippet(self) -> str:
        """Some text around what was found, on one line."""
        return self.raw["snippet"]

    @property
    def score(self) -> float:
        """How well it fits: more is better."""
        return self.raw["score"]

    def __repr__(self) -> str:
        return f"<Hit {self.chat_id} {self.message_id}>"


class SearchPage(_SearchResult):
    """One page of what was found, best first."""

    @property
    def hits(self) -> list[Hit]:
        """The hits of this page."""
        return [Hit(raw) for raw in self.raw["hits"]]

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None after the last one."""
        return self.raw["nextCursor"]
