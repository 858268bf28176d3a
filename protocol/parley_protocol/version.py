"""The versions of the package and of the wire protocol. Literals, so that reading them costs nothing."""

from typing import Final

PROTOCOL_VERSION: Final = 1
"""Increased when an existing name or rule of the protocol changes its meaning, not for additions."""

VERSION: Final = "0.1.0"
"""The version of the distribution. A test compares it with pyproject.toml."""
