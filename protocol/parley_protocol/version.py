"""The versions of the package and of the wire protocol. Literals, so that reading them costs nothing."""

from typing import Final

PROTOCOL_VERSION: Final = 1
"""Increased when an existing name or rule of the protocol changes its meaning, not for additions."""

VERSION: Final = "0.2.0.dev0"
"""The version of the distribution: that of the newest heading in CHANGELOG.md, with .dev0 until then.

Tests compare it with pyproject.toml and CHANGELOG.md.
"""
