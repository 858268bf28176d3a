"""The versions of the package and of the wire protocol, as literals: reading them costs nothing."""

from typing import Final

PROTOCOL_VERSION: Final = 1
"""Raised when an existing name or rule of the wire changes its meaning, not when something is added."""

VERSION: Final = "0.1.0"
"""The version of the distribution; a test compares it with pyproject.toml."""
