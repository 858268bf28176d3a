"""Of which items of a responses stream texts have come piece by piece, and do not count again when whole.

Knows no events.
"""

_Keys = tuple[set[str | None], set[int | None]]


class StreamedTexts:
    """The items with such texts, by the kind of text. Servers name an item by its id, its index, or both."""

    def __init__(self) -> None:
        self._items: dict[str, _Keys] = {}

    def add(self, kind: str, id: str | None, index: int | None) -> None:
        """Say that a piece of a text has come."""
        ids, indexes = self._items.setdefault(kind, (set(), set()))
        ids.add(id or None)
        indexes.add(index)

    def has(self, kind: str) -> bool:
        """Whether any text of this kind has come so."""
        return kind in self._items

    def covers(self, kind: str, id: str | None, index: int | None) -> bool:
        """Whether an item's texts of this kind have come so, or may have, as its name does not tell.

        One of two names is enough to be the same: some servers make up new ids, some give all one index.
        """
        if kind not in self._items:
            return False
        ids, indexes = self._items[kind]
        if (id and id in ids) or (index is not None and index in indexes):
            return True
        return (not id or None in ids) and (index is None or None in indexes)
