"""What a turn is doing at the moment, and for how long: the text beside the spinner."""

import math
from collections.abc import Callable

QUIET_SECONDS = 1.0
"""Seconds without text after which the spinner is shown again."""

_HINT_AFTER_SECONDS = 3


class Phase:
    """The phase of a turn. `name` is None while there is no turn."""

    def __init__(self, name: str, clock: Callable[[], float], *, shows_hints: bool) -> None:
        self.name: str | None = name
        self._clock = clock
        self._shows_hints = shows_hints
        self._retry_at: float | None = None
        self._began_at = self._last_event_at = clock()

    def set(self, name: str | None, *, restarts: bool = False) -> None:
        """Change the phase; with `restarts`, the time is counted from now on."""
        self.name, self._retry_at = name, None
        if restarts:
            self._began_at = self._clock()

    def set_retry(self, reason: str, seconds: float) -> None:
        """Wait this long for another attempt."""
        self.name, self._retry_at = reason, self._clock() + seconds

    def note_event(self) -> None:
        """Note that something has arrived."""
        self._last_event_at = self._clock()

    def text(self, now: float) -> str | None:
        """Return the phase and its duration, or None while text is arriving."""
        phase, since = self.name, self._began_at
        if self._retry_at is not None:
            left = math.ceil(self._retry_at - now)
            retrying = f"retrying in {left} s" if left > 0 else "retrying"
            return f"{retrying}: {phase}{' · Ctrl-C interrupts' if self._shows_hints else ''}"
        if phase in ("answering", "thinking"):
            since = self._last_event_at
            if now - since < QUIET_SECONDS:
                return None
            phase = "waiting for more text"
        if phase is None:
            return None
        seconds = max(0, int(now - since))
        hint = " · Ctrl-C interrupts" if seconds >= _HINT_AFTER_SECONDS and self._shows_hints else ""
        return f"{phase} · {seconds} s{hint}"
