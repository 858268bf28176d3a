"""Time and identity, as the engine asks for them."""

from typing import Protocol


class Clock(Protocol):
    """Where times and ids come from."""

    def now(self, ahead: float = 0.0) -> str:
        """Return the time `ahead` seconds from now as RFC 3339 UTC: 2026-01-02T03:04:05.678Z."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start; never goes back."""
        ...

    def new_id(self) -> str:
        """Return a new UUIDv7 as a string; later ones sort after earlier ones. For any thread."""
        ...
