"""The port to the place where API keys are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class SecretsUnavailableError(Exception):
    """A key cannot be stored or deleted now. The message says why and does not contain the key."""


@dataclass(frozen=True, slots=True)
class Keys:
    """API keys by provider (not part of the repr); for keys that cannot be read, the reason in a sentence."""

    found: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])


class Secrets(Protocol):
    """A store of API keys, by the names of their providers."""

    async def read(self, names: Sequence[str]) -> Keys:
        """Return the keys of these providers; a provider without a key is left out. May take seconds."""
        ...

    async def write(self, name: str, key: str | None) -> None:
        """Store a key in place of the previous one; None: delete it. May take seconds.

        Raises:
            SecretsUnavailableError: the key cannot be stored or deleted.
        """
        ...
