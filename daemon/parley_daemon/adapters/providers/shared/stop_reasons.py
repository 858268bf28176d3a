"""What the words of stop reasons have in common in all dialects."""

import re
from collections.abc import Mapping

from parley_daemon.ports.models import StopReason

_NO_REASONS = frozenset(("", "null", "none", "finish_reason_unspecified", "unspecified"))
_FAILURE = re.compile(
    r"error|fail|abort|cancel|overload|unavailable|exception|time[_ -]?out|crash|disconnect", re.IGNORECASE
)
# The first that is found counts.
_MEANINGS: tuple[tuple[re.Pattern[str], StopReason], ...] = (
    (
        re.compile(r"filter|safety|sensitive|moderat|refus|prohibit|blocklist|flagged", re.IGNORECASE),
        "content_filter",
    ),
    (re.compile(r"length|token|context|truncat", re.IGNORECASE), "length"),
)


def read_reason(said: str | None) -> str | None:
    """Return a stop reason; None for the words that some servers write with every event for "none yet"."""
    return None if said is None or said.strip().lower() in _NO_REASONS else said


def is_failure(reason: str) -> bool:
    """Return whether a stop reason says that the answer failed, such as "error" or "engine_failure"."""
    return _FAILURE.search(reason) is not None


def map_reason(said: str, known: Mapping[str, StopReason]) -> StopReason:
    """Return the meaning of a stop reason: from a dialect's table, else by its words, else "other"."""
    if said in known:
        return known[said]
    for words, meaning in _MEANINGS:
        if words.search(said):
            return meaning
    return "other"
