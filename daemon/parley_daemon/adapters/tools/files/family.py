"""All tools that read and change files, and what they share with the other tools for files."""

from parley_daemon.adapters.tools.files.apply_patch import apply_patch
from parley_daemon.adapters.tools.files.changes import Changes
from parley_daemon.adapters.tools.files.contents import Contents
from parley_daemon.adapters.tools.files.edit_file import edit_file, write_file
from parley_daemon.adapters.tools.files.move_file import delete_file, move_file
from parley_daemon.adapters.tools.files.read_file import ReadFile
from parley_daemon.adapters.tools.files.read_log import ReadLog
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.paths.locks import PathLocks
from parley_daemon.adapters.tools.paths.resolving import Resolver
from parley_daemon.adapters.tools.workspaces import DaemonFolders
from parley_daemon.ports.checkpoints import Checkpoints
from parley_daemon.ports.editors import Editors
from parley_daemon.ports.tools import Tool


def file_services(folders: DaemonFolders, editors: Editors) -> FileServices:
    """Return what the tools for files share. `folders` are the daemon's own."""
    resolver = Resolver(folders)
    return FileServices(resolver, editors, Contents(editors, resolver), ReadLog(), PathLocks())


def file_tools(services: FileServices, checkpoints: Checkpoints) -> list[Tool]:
    """Return the tools that read and change files."""
    changes = Changes(services, checkpoints)
    return [
        ReadFile(services),
        edit_file(services, changes),
        write_file(services, changes),
        apply_patch(services, changes),
        delete_file(services, changes),
        move_file(services, changes),
    ]
