"""The port to the files with which a project speaks to the daemon: rules, instructions, servers."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from parley_daemon.core.agents.rules import Rule

RULES_FILE = ".parley/permissions.toml"
INSTRUCTIONS_FILE = "AGENTS.md"
MCP_FILE = ".mcp.json"


class ProjectFile(msgspec.Struct, frozen=True, gc=False):
    """A file below a folder, as it is now.

    Attributes:
        path: absolute.
        content: None: it cannot be used.
        hash: of its name and its content, which a person trusts; "" if it cannot be used.
        problem: why it cannot be used, as a sentence.
    """

    path: str
    content: bytes | None
    hash: str = ""
    problem: str | None = None


class ProjectFiles(Protocol):
    """Reads files of projects, without following links that lead out of the folder."""

    async def read(self, folder: str, name: str) -> ProjectFile | None:
        """Return a file below an absolute folder, None if there is none. It may be a second old."""
        ...

    async def find_folder(self, path: str) -> str | None:
        """Return the resolved path of an absolute path; None: there is no such folder."""
        ...


class ParsedRules(msgspec.Struct, frozen=True, gc=False):
    """The rules of a file. `complaint`: what is wrong with it, and in which line; then there are no rules."""

    rules: tuple[Rule, ...] = ()
    complaint: str | None = None


ParseRules = Callable[[bytes, str], ParsedRules]
"""Reads the rules of a file: its content, and its path for the complaint."""
