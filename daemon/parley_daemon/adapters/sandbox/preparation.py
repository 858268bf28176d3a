"""What is started for a command: a supervisor or bubblewrap, with the sandbox's settings."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parley_daemon.adapters.sandbox import bwrap, seatbelt
from parley_daemon.adapters.sandbox.environment import make_environment
from parley_daemon.adapters.sandbox.places import (
    find_conflict,
    find_secrets,
    find_services,
    is_below,
    widen_to_own_folder,
)
from parley_daemon.adapters.sandbox.protected import ProtectedFiles
from parley_daemon.adapters.supervision.starting import make_command, make_order
from parley_daemon.ports.sandbox import Command, SandboxError, SandboxSettings, SandboxState


@dataclass(frozen=True, slots=True)
class SandboxPaths:
    """Where the daemon has what is its own.

    Attributes:
        own: files and folders that commands must neither read nor change.
        scratch: the folder for the temporary folders of commands. Each daemon has a folder in it.
        kept: the folder that changed versions of protected files are kept in.
        guarded: files of the daemon that are put back if a command without a sandbox changes them.
        programs: folders of what it runs and imports. Commands can read them.
    """

    own: tuple[Path, ...]
    scratch: Path
    kept: Path
    guarded: tuple[Path, ...] = ()
    programs: tuple[str, ...] = ()


class Preparation:
    """Prepares the start of commands."""

    def __init__(
        self, settings: SandboxSettings, paths: SandboxPaths, environment: Mapping[str, str], python: str
    ) -> None:
        self.settings = settings
        self._python = python
        found = shutil.which("bwrap", path=environment.get("PATH"))
        self.program = None if found is None else os.path.realpath(found)
        self._paths = paths
        self._environment = environment

    def prepare(
        self, state: SandboxState, command: Command, scratch: str, protected: ProtectedFiles
    ) -> tuple[list[str], dict[str, str], bytes]:
        """Return the program to start with its arguments, its environment, and the message to it.

        Raises:
            SandboxError: the sandbox does not hold for these folders.
        """
        if "/" in command.writable:
            raise SandboxError("A command cannot get the whole file system to write to.")
        for root in (*command.writable, *command.readable):
            if os.path.realpath(root) != root:  # another chat's command may have replaced a folder by a link
                raise SandboxError(f"The folder {root} is another one than a moment ago. Try again.")
        temporary = "/tmp" if state.kind == "bwrap" else scratch
        environment = make_environment(
            self._environment, temporary, self.settings.environment, command.environment
        )
        environment["PWD"] = command.cwd
        network = state.reach(command.network)
        secrets, services, own = find_secrets(), find_services(), self._own()
        # What is bound again inside of a hidden or protected folder would uncover it.
        covered = [*secrets, *services, *own]
        read_only = _outside([*protected.read_only, *command.read_only], covered)
        programs = self._find_programs(state, command.writable)
        read_only += _outside(programs, [*covered, *read_only])
        kept_apart = [*protected.git_directories, *command.kept_apart]
        kept_apart += _folders_above(programs, command.writable)
        kept_apart = _outside(dict.fromkeys(kept_apart), [*covered, *read_only])
        if state.kind == "bwrap":
            argv = bwrap.make_arguments(
                self.program or "bwrap",
                command.argv,
                cwd=command.cwd,
                scratch=scratch,
                readable=command.readable,
                writable=command.writable,
                read_only=read_only,
                kept_apart=kept_apart if command.writable else [],
                hidden=[*secrets, *services],
                own=[*own, *command.hidden],
                network=network == "all",
            )
            return argv, environment, b""
        argv, hidden = list(command.argv), [*secrets, *own, *command.hidden]
        if state.kind != "none":
            _refuse_conflict(hidden, command.writable)
        if state.kind == "seatbelt":
            argv = seatbelt.make_arguments(
                argv,
                writable=[*command.writable, scratch],
                read_only=[*protected.read_only, *programs],
                hidden=hidden,
                network=network,
            )
        order = make_order(
            argv,
            command.cwd,
            environment,
            restrict=state.kind == "landlock",
            hidden=hidden,
            writable=[*command.writable, scratch],
            network=network == "all",
        )
        return make_command(self._python), {}, order

    def _find_programs(self, state: SandboxState, writable: Sequence[str]) -> list[str]:
        """Return the daemon's programs below the folders that a command may write to.

        Raises:
            SandboxError: the sandbox cannot keep the command from changing them.
        """
        own = [*self._paths.programs, *([self.program] if self.program else [])]
        conflict = find_conflict(writable, own)
        if conflict is not None and state.kind != "none":
            raise SandboxError(f"The folder {conflict[0]} belongs to the programs of parleyd: {conflict[1]}.")
        found = [path for path in own if any(is_below(path, root) for root in writable)]
        if found and state.kind == "landlock":
            raise SandboxError(
                f"parleyd itself is installed in {found[0]}, which this sandbox cannot keep from a command."
                " Install it elsewhere (pipx or uv tool), or install bubblewrap."
            )
        return found

    def _own(self) -> list[str]:
        return [
            widen_to_own_folder(path) if path.is_file() or path.is_socket() else os.path.realpath(path)
            for path in self._paths.own
            if os.path.lexists(path)
        ]


def _folders_above(paths: Sequence[str], roots: Sequence[str]) -> list[str]:
    """Return the folders between roots and paths, which a command could rename with what is in them."""
    found: dict[str, None] = {}
    for path in paths:
        while (path := os.path.dirname(path)) not in roots and path != "/":
            found[path] = None
    return [path for path in found if any(is_below(path, root) for root in roots)]


def _outside(paths: Iterable[str], folders: Sequence[str]) -> list[str]:
    return [path for path in paths if not any(is_below(path, folder) for folder in folders)]


def _refuse_conflict(hidden: Sequence[str], writable: Sequence[str]) -> None:
    conflict = find_conflict(hidden, writable)
    if conflict is not None:
        raise SandboxError(
            f"The folder {conflict[1]} contains {conflict[0]}, which this sandbox cannot keep from a "
            "command. Use a narrower folder, or install bubblewrap."
        )
