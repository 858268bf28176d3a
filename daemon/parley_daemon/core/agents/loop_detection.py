"""Notices a model that goes round in circles: it makes the same call again and gets the same result.

Theory of operation. For each call (the tool and its arguments) it is known what came of it last, and how
often in a row. A call that came to the same ASK_AT - 1 times already is asked about before it runs once more.
STOP_AT is a hard stop: an approval lets a call run, but resets nothing. Another result begins a new count, so
a model may look at something again and again as long as it changes. Refused and invalid calls count, too.

Calls and results are given as hashes.
"""

ASK_AT = 3
"""The number of the equal call in a row that a person is asked about."""

STOP_AT = 5
"""The number of the equal call in a row that ends the turn."""


class LoopDetection:
    """The calls of one turn."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, int]] = {}

    def note(self, call: str, result: str) -> None:
        """Note what has come of a call."""
        last, count = self._last.get(call, ("", 0))
        self._last[call] = result, (count + 1 if last == result else 1)

    def note_refusal(self, call: str) -> None:
        """Note that a call was made again and did not run, because it repeats itself."""
        last, count = self._last.get(call, ("", 0))
        self._last[call] = last, count + 1

    def count(self, call: str) -> int:
        """Return how often in a row this call has led to the same."""
        return self._last.get(call, ("", 0))[1]

    def must_ask(self, call: str) -> bool:
        """Return whether a person is asked before this call runs again."""
        return self.count(call) >= ASK_AT - 1

    def must_stop(self, call: str) -> bool:
        """Return whether the turn ends instead of this call running again."""
        return self.count(call) >= STOP_AT - 1
