"""The clock port over the system clock, with UUIDv7 ids (RFC 9562)."""

import os
import threading
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Wall clock, monotonic clock, and ids that sort by creation time."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def now(self, ahead: float = 0.0) -> str:
        """Return the time `ahead` seconds from now as RFC 3339 UTC with milliseconds."""
        time = datetime.now(UTC) + timedelta(seconds=ahead)
        return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment. Never decreases."""
        return time.monotonic()

    def new_id(self) -> str:
        """Return a new UUIDv7. The ids of one process ascend strictly. May be called in any thread.

        Layout: 48 bits of Unix milliseconds, 12 bits for the fraction of the millisecond (RFC 9562, section
        6.2, method 3), 62 random bits. When the clock stands still or goes back, the first 60 bits of the
        last id are incremented instead.
        """
        nanoseconds = time.time_ns()
        ticks = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
        with self._lock:  # chats are copied in worker threads
            self._last = ticks = max(ticks, self._last + 1)
        random = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
        value = (ticks >> 12 << 80) | (0x7 << 76) | ((ticks & 0xFFF) << 64) | (0b10 << 62) | random
        digits = f"{value:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
