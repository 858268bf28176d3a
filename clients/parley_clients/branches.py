"""The places of a chat where something was said more than one way. Works on messages; asks nobody."""

from collections.abc import Sequence

from parley_clients.results import Json


class Place:
    """A place of the active branch with alternatives: `message` is the one that the branch runs through."""

    def __init__(self, message: Json) -> None:
        self.message = message

    @property
    def message_id(self) -> int:
        """The message that is shown there."""
        return self.message["id"]

    @property
    def siblings(self) -> list[int]:
        """The ids of all messages of this place, the shown one included, oldest first."""
        return self.message["siblings"]

    @property
    def index(self) -> int:
        """Where among the siblings the shown message is, from 0."""
        return self.siblings.index(self.message_id)

    def __repr__(self) -> str:
        return f"<Place {self.message_id} of {self.siblings}>"


def places(messages: Sequence[Json]) -> list[Place]:
    """Return the places among these messages of a branch that have alternatives."""
    return [Place(message) for message in messages if len(message["siblings"]) > 1]
