"""Where the programs of the daemon are: what it runs and imports, outside of any sandbox."""

import os
import sys

_PACKAGES = ("parley_daemon", "parley_protocol", "msgspec", "anyio")
"""Packages that are always loaded; those of others lie beside the last two."""

_OF_OTHERS = ("msgspec", "anyio")


def find_own_programs() -> tuple[str, ...]:
    """Return the folders of the daemon's packages, and its virtual environment if it has one; resolved.

    What a person has put before them by PYTHONPATH is not known.
    """
    found = [sys.prefix] if sys.prefix != sys.base_prefix else []
    for name in _PACKAGES:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            folder = os.path.dirname(file)
            found.append(os.path.dirname(folder) if name in _OF_OTHERS else folder)
    resolved = dict.fromkeys(map(os.path.realpath, found))
    return tuple([one for one in resolved if not any(_is_inside(one, other) for other in resolved)])


def _is_inside(path: str, folder: str) -> bool:
    return path != folder and path.startswith(folder.rstrip("/") + "/")
