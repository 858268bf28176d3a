"""All tools for files, and what they share."""

from parley_daemon.adapters.tools.files.apply_patch import apply_patch
from parley_daemon.adapters.tools.files.changes import Changes
from parley_daemon.adapters.tools.files.contents import Contents
from parley_daemon.adapters.tools.files.edit_file import edit_file, write_file
from parley_daemon.adapters.tools.files.move_file import delete_file, move_file
from parley_daemon.adapters.tools.files.read_file import ReadFile
from parley_daemon.adapters.tools.files.read_log import ReadLog
from parley_daemon.adapters.tools.files.searching import search_tools
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.paths.locks import PathLocks
from parley_daemon.adapters.tools.paths.resolving import Resolver
from parley_daemon.adapters.tools.workspaces import DaemonFolders
from parley_daemon.ports.checkpoints import Checkpoints
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.tools import Tool


def file_tools(folders: DaemonFolders, editors: Editors, checkpoints: Checkpoints) -> list[Tool]:
    """Return the tools for files. `folders` are the daemon's own."""
    resolver = Resolver(folders)
    services = FileServices(resolver, editors, Contents(editors, resolver), ReadLog(), PathLocks())
    changes = Changes(services, checkpoints)
    return [
        ReadFile(services),
        *search_tools(services),
        edit_file(services, changes),
        write_file(services, changes),
        apply_patch(services, changes),
        delete_file(services, changes),
        move_file(services, changes),
    ]
