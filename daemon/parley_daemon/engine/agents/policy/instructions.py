"""What people tell models in AGENTS.md: the file of the configuration's folder, and those of the roots.

The file of the configuration's folder is the owner's own. A project's file counts only while the owner
trusts it with exactly this content, as the rules of a project do: whoever can write to a project could tell
the model what to do. All files together have MAX_BYTES, in their order; the rest is left out, and the text
says so.
"""

from typing import Literal

import msgspec

from parley_daemon.core.agents.globs import uri_of_path
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.policy.permissions import Permissions, PolicySources
from parley_daemon.ports.projects import INSTRUCTIONS_FILE, ProjectFile
from parley_daemon.ports.tools import Workspace

MAX_BYTES = 64 * 1024
"""How much of all files together a model gets."""

InstructionState = Literal["used", "untrusted", "unusable"]


class InstructionFile(msgspec.Struct, frozen=True, gc=False):
    """An AGENTS.md and what becomes of it.

    Attributes:
        root: the URI of the project's folder, None for the owner's own file.
        text: what the model gets, "" if it does not count; what a person has to read before trusting it.
        size: bytes of the whole file.
        is_cut: whether the model gets only the beginning.
    """

    path: str
    root: str | None
    hash: str
    state: InstructionState
    text: str
    size: int
    is_cut: bool = False
    problem: str | None = None


class Instructions:
    """The instructions of chats."""

    def __init__(self, permissions: Permissions, sources: PolicySources) -> None:
        self._permissions = permissions
        self._files = sources.files
        self._config_folder = sources.config_folder

    async def files(self, owner: str, workspace: Workspace) -> tuple[InstructionFile, ...]:
        """Return all files with instructions for chats there, in the order in which the model gets them.

        Raises:
            StoreUnavailableError: it cannot be read what the owner trusts.
        """
        found: list[InstructionFile] = []
        left = MAX_BYTES
        for folder, root in [
            (self._config_folder, None),
            *[(one, uri_of_path(one)) for one in workspace.roots],
        ]:
            file = await self._files.read(folder, INSTRUCTIONS_FILE)
            if file is None:
                continue
            trusted = root is None or await self._permissions.is_trusted(owner, root, file.hash)
            one = _describe(file, root, left, trusted=trusted)
            found.append(one)
            if one.state == "used":
                left -= len(one.text.encode())
        return tuple(found)

    async def text(self, chat: Chat, workspace: Workspace) -> str | None:
        """Return what goes into the system prompt of an agent turn, None if there is nothing.

        Raises:
            StoreUnavailableError: it cannot be read what the owner trusts.
        """
        parts: list[str] = []
        for one in await self.files(chat.owner, workspace):
            if one.state == "used" and (one.text.strip() or one.is_cut):
                end = f"\n[{one.path} goes on here; the rest is left out.]" if one.is_cut else ""
                parts.append(f"Instructions from {one.path}:\n\n{one.text.strip()}{end}")
        return "\n\n".join(parts) or None


def _describe(file: ProjectFile, root: str | None, left: int, *, trusted: bool) -> InstructionFile:
    if file.content is None:
        return InstructionFile(file.path, root, file.hash, "unusable", "", 0, problem=file.problem)
    size = len(file.content)
    if b"\0" in file.content:
        problem = f"{file.path} is no text."
        return InstructionFile(file.path, root, file.hash, "unusable", "", size, problem=problem)
    allowed = left if trusted else MAX_BYTES
    kept = file.content if size <= allowed else file.content[:allowed]
    # A character that is cut in two is left out, one that is no UTF-8 is replaced.
    text = kept.decode("utf-8", "replace").removeprefix("\ufeff")
    if size > allowed:
        text = text.rstrip("\ufffd")
    state: InstructionState = "used" if trusted else "untrusted"
    return InstructionFile(file.path, root, file.hash, state, text, size, is_cut=size > allowed)
