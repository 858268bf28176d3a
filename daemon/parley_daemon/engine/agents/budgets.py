"""What a turn and the children that it has set to work may cost together.

Theory of operation. `maxCostUsd` of a turn counts for all work that the turn leads to. A turn with that limit
has a budget, which its children's turns join when they begin. Each turn notes what it has cost so far, which
is the sum over its own calls: a cost that is noted again replaces the one before, so nothing counts twice.
Whoever is about to call a model again looks at the sum of all, so that four children do not spend the rest of
the budget four times. A turn in the background stays in its budget after its parent's turn has ended.

Budgets are not stored. After a restart, a child goes on with what was left of the budget when it began
(`ChildTask.limits`).
"""

from weakref import WeakValueDictionary

from parley_daemon.core.records import Chat


class Budget:
    """What the turns of one tree may cost. `limit`: US dollars."""

    __slots__ = ("__weakref__", "_costs", "limit")

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._costs: dict[str, float] = {}

    def note(self, turn_id: str, cost: float | None) -> None:
        """Note what a turn has cost so far. None: nothing that is known."""
        if cost is not None:
            self._costs[turn_id] = cost

    @property
    def left(self) -> float:
        """The US dollars that are left, 0 or more."""
        return max(0.0, self.limit - sum(self._costs.values()))


class Budgets:
    """The budgets of the turns under way, by their chats."""

    def __init__(self) -> None:
        self._of_chats: WeakValueDictionary[str, Budget] = WeakValueDictionary()  # turns keep them alive

    def open(self, chat: Chat, limit: float) -> Budget:
        """Return a new budget of the turn that is under way in a chat."""
        budget = Budget(limit)
        self._of_chats[chat.id] = budget
        return budget

    def find_above(self, chat: Chat) -> Budget | None:
        """Return the budget that a turn of this chat joins, if it is a child's; None: there is none."""
        if not chat.is_delegated or chat.parent_chat_id is None:
            return None
        return self._of_chats.get(chat.parent_chat_id)
