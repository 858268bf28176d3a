"""Finds out which sandbox works here, by running a command in it."""

import os
import subprocess
import sys
import tempfile

from parley_daemon.adapters.sandbox import seatbelt
from parley_daemon.adapters.sandbox.preparation import Preparation
from parley_daemon.adapters.sandbox.processes import run_to_end
from parley_daemon.adapters.sandbox.protected import ProtectedFiles
from parley_daemon.adapters.supervision import landlock
from parley_daemon.ports.sandbox import Command, Network, SandboxState

_STATUS = 7
"""The exit status of the command that is tried: no program that fails ends with it."""

_FULL_ABI = {
    3: "the truncation of files outside",
    4: "TCP",
    6: "signals to processes outside",
}
"""What Landlock does not hold before a version."""


class Probe:
    """Tries the sandboxes that the settings allow. Blocks meanwhile."""

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation
        self._settings = preparation.settings

    def find(self) -> SandboxState:
        """Try the sandboxes, the strongest one first."""
        choice = self._settings.kind
        reasons: list[str] = []
        tries = {"bwrap": self._try_bwrap, "landlock": self._try_landlock, "seatbelt": self._try_seatbelt}
        for kind, attempt in tries.items():
            if choice in ("auto", kind):
                state = attempt(reasons)
                if state is not None:
                    return state
        why = " ".join(reasons) or "The configuration turns the sandbox off."
        note = "There is no sandbox: commands can read the keys of parleyd and change all files of this user."
        problem = f"The configuration demands a sandbox, and there is none. {why}"
        return SandboxState(
            "none", False, "all", (note, why), problem if self._settings.is_required else None
        )

    def _try_bwrap(self, reasons: list[str]) -> SandboxState | None:
        if sys.platform != "linux":
            return None
        if not self._preparation.program:
            reasons.append("bubblewrap is not installed.")
            return None
        state = SandboxState("bwrap", _is_root(), self._settings.network, tuple(_root_notes()))
        problem = self._try(state)
        if problem is not None:
            reasons.append(f"bubblewrap does not work here: {problem}.")
            return None
        if self._settings.network == "none":
            note = "Commands have a loopback of their own, which leads nowhere."
            return SandboxState("bwrap", state.is_weak, "none", (*state.notes, note))
        return state

    def _try_landlock(self, reasons: list[str]) -> SandboxState | None:
        if sys.platform != "linux":
            return None
        abi = landlock.find_abi()
        if abi < 1:
            reasons.append("This kernel has no Landlock.")
            return None
        network: Network = "all" if self._settings.network == "all" else "none"
        missing = [what for version, what in _FULL_ABI.items() if abi < version]
        notes = [
            *_root_notes(),
            "Landlock does not hold changes of the permissions and times of files outside, nor the use of"
            " other terminals (what is typed there can be read) and of shared memory of the user.",
        ]
        if missing:
            notes.append(f"The Landlock of this kernel does not hold {', '.join(missing)}.")
        if not landlock.has_filter():
            notes.append("On this machine, Unix sockets and UDP are not held.")
        is_weak = _is_root() or bool(missing) or not landlock.has_filter()
        state = SandboxState("landlock", is_weak, network, tuple(notes))
        problem = self._try(state)
        if problem is not None:
            reasons.append(f"Landlock does not work here: {problem}.")
            return None
        return state

    def _try_seatbelt(self, reasons: list[str]) -> SandboxState | None:
        if sys.platform != "darwin" or not os.path.exists(seatbelt.PROGRAM):
            if self._settings.kind == "seatbelt":
                reasons.append("sandbox-exec is only on macOS.")
            return None
        notes = ("The sandbox of macOS has not been tested with this daemon.", *_root_notes())
        state = SandboxState("seatbelt", _is_root(), self._settings.network, notes)
        problem = self._try(state)
        if problem is not None:
            reasons.append(f"sandbox-exec does not work here, perhaps inside of another sandbox: {problem}.")
            return None
        return state

    def _try(self, state: SandboxState) -> str | None:
        """Run a command in a sandbox; return why that fails."""
        with tempfile.TemporaryDirectory() as folder:
            command = Command(argv=("/bin/sh", "-c", f"exit {_STATUS}"), cwd="/")
            nothing = ProtectedFiles((), {}, {})
            try:
                start = self._preparation.prepare(state, command, os.path.realpath(folder), nothing)
                status, output = run_to_end(*start)
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
        if status == _STATUS:
            return None
        return " ".join(output.split()) or f"a command ended with the status {status}"


def _is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0


def _root_notes() -> list[str]:
    note = "parleyd runs as root: commands may reach what the sandbox keeps from other users."
    return [note] if _is_root() else []
