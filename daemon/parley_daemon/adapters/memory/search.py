"""Searches chats in memory by reading every text. The ranking is simpler than that of the full-text index."""

from collections.abc import Mapping

from parley_daemon.adapters.querying.search_cursor import (
    MAX_HITS,
    decode_search_cursor,
    encode_search_cursor,
)
from parley_daemon.adapters.querying.tokenizer import parse_query
from parley_daemon.core.parts import Text
from parley_daemon.core.records import Chat, Message
from parley_daemon.ports.store import SearchHit, SearchPage

_TITLE_WEIGHT = 2.0

Key = tuple[str, int | None]
Ranked = tuple[str, int | None, float]


class MemorySearch:
    """The texts of one owner's chats, by chat id and message id. A title has the message id None."""

    def __init__(
        self, owner: str, chats: Mapping[str, Chat], messages: Mapping[tuple[str, int], Message]
    ) -> None:
        self._chats = {id: chat for id, chat in chats.items() if chat.owner == owner}
        self._texts: dict[Key, str] = {(id, None): chat.title or "" for id, chat in self._chats.items()}
        self._texts |= {key: _text(one) for key, one in messages.items() if key[0] in self._chats}
        self._age = {id: age for age, id in enumerate(self._chats)}

    def page(self, text: str, cursor: str | None, limit: int) -> SearchPage:
        """Return one page of hits, best first; with equal scores the newer one first.

        Raises:
            InvalidCursorError: the cursor is not valid, or belongs to another query.
        """
        query = parse_query(text)
        ranked = self._rank(text) if cursor is None else decode_search_cursor(text, cursor, Ranked)
        existing = [entry for entry in ranked if entry[:2] in self._texts]
        hits = [
            SearchHit(
                chat_id,
                message_id,
                self._chats[chat_id].title,
                query.snippet(self._texts[chat_id, message_id]),
                score,
            )
            for chat_id, message_id, score in existing[:limit]
        ]
        return SearchPage(tuple(hits), encode_search_cursor(text, existing[limit:]))

    def _rank(self, text: str) -> list[Ranked]:
        query = parse_query(text)
        average = sum(map(len, self._texts.values())) / max(1, len(self._texts)) or 1.0
        found = [
            (*key, _score(key, query.count(content), len(content) / average))
            for key, content in self._texts.items()
        ]
        best = sorted(
            [one for one in found if one[2]],
            key=lambda one: (one[2], self._age[one[0]], one[1] or 0),
            reverse=True,
        )
        return best[:MAX_HITS]


def _text(message: Message) -> str:
    return "\n".join([part.text for part in message.content if isinstance(part, Text)])


def _score(key: Key, count: int, length: float) -> float:
    """Return a score like BM25's, without the weight for rare words.

    Each further match adds less, and a match counts less in a long text. `length` is relative to the average.
    """
    weighted = count * (_TITLE_WEIGHT if key[1] is None else 1.0)
    return weighted / (weighted + 0.3 + 0.9 * length)
