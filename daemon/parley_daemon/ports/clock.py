"""The port to time and to new ids."""

from typing import Protocol


class Clock(Protocol):
    """The source of times and ids."""

    def now(self, ahead: float = 0.0) -> str:
        """Return the time `ahead` seconds from now as RFC 3339 UTC: 2026-01-02T03:04:05.678Z."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start. Never goes backwards."""
        ...

    def new_id(self) -> str:
        """Return a new UUIDv7 (RFC 9562) as a string; later ones sort after earlier ones. Thread-safe."""
        ...
