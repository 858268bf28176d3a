"""Processes of the commands of chats that still live (rule 15 of the protocol)."""

import os
from pathlib import Path


def living_commands(roots: list[str]) -> list[str]:
    """Return the command lines of living processes that chats have started below these folders.

    They are known by their environment, which is that of commands of chats only.
    """
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or folder.name == str(os.getpid()):
            continue
        try:
            lines = (folder / "environ").read_bytes().decode("utf-8", "replace").split("\0")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        names: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition("=")
            names[name] = value
        is_of_chat = "TMPDIR" in names and names.get("XDG_CACHE_HOME") == f"{names['TMPDIR']}/.cache"
        cwd = names.get("PWD", "")
        if is_of_chat and command and any(f"{cwd}/".startswith(f"{root}/") for root in roots):
            found.append(command)
    return found
