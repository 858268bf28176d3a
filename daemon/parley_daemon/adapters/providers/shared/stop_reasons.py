"""What the words of stop reasons have in common in all dialects."""

import re

_NO_REASONS = frozenset(("", "null", "none", "finish_reason_unspecified", "unspecified"))
_FAILURE = re.compile(r"error|fail", re.IGNORECASE)


def read_reason(said: str | None) -> str | None:
    """Return a stop reason; None for the words that some servers write with every event for "none yet"."""
    return None if said is None or said.strip().lower() in _NO_REASONS else said


def is_failure(reason: str) -> bool:
    """Return whether a stop reason says that the answer failed, such as "error" or "engine_failure"."""
    return _FAILURE.search(reason) is not None
