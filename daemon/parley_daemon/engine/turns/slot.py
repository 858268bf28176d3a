"""The slot of one turn: the right to run."""

from parley_daemon.engine.turns.host import TurnServices


class TurnSlot:
    """The slot of one turn. `first_at` is when the turn first had one, a time of the services' clock."""

    def __init__(self, services: TurnServices) -> None:
        self.first_at: float | None = None
        self._services = services
        self._is_held = False

    async def take(self) -> None:
        """Wait for a slot, in line with the other turns. Returns at once if the turn has one."""
        if not self._is_held:
            await self._services.turn_slots.acquire_on_behalf_of(self)
            self._is_held = True
        if self.first_at is None:
            self.first_at = self._services.clock.monotonic()

    def free(self) -> None:
        """Give the slot back, if the turn has one."""
        if self._is_held:
            self._is_held = False
            self._services.turn_slots.release_on_behalf_of(self)
