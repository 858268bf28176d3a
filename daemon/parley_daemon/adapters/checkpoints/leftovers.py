"""Removes the temporary files that a kill has left beside files that were being changed.

Theory of operation. A file is replaced by one with another name that is renamed over it. A daemon that is
killed in between leaves that file, in the folder of a path whose change has no end in the journal. Only there
is looked, and only files with such a name that are older than this process are removed.
"""

import os
import re
import stat
import time
from collections.abc import Iterable
from contextlib import suppress

from parley_daemon.adapters.checkpoints.paths import split_path
from parley_daemon.adapters.folders.opening import opened_folder
from parley_daemon.core.agents.files.checkpoints import Checkpoint

_STARTED = time.time()
_NAME = re.compile(r"\.parley-[0-9a-f]{16}(\.tmp)?")


def remove_leftovers(checkpoints: Iterable[Checkpoint]) -> None:
    """Remove what calls that were cut off have left. What cannot be removed stays."""
    places = {
        (change.root, tuple(split_path(change.root, change.path)[:-1]))
        for one in checkpoints
        for change in one.changes.values()
        if change.after is None
    }
    for root, names in places:
        with suppress(OSError), opened_folder(root, names) as folder:
            for name in os.listdir(folder):
                if _NAME.fullmatch(name):
                    _remove_old(folder, name)


def _remove_old(folder: int, name: str) -> None:
    with suppress(OSError):
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode) and found.st_mtime < _STARTED:
            os.unlink(name, dir_fd=folder)
