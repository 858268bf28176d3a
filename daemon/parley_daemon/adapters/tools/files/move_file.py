"""delete_file and move_file."""

import stat
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from parley_daemon.adapters.tools.files.changes import CHANGED_MEANWHILE, Change, Changes, Plan
from parley_daemon.adapters.tools.files.changing_tool import ChangingTool, Intent
from parley_daemon.adapters.tools.files.contents import Content, UnusableFileError
from parley_daemon.adapters.tools.files.edit_file import PATH
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import MAX_TEXT
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext


class DeleteFileArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of delete_file."""

    path: Annotated[str, msgspec.Meta(description=PATH)]


class MoveFileArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of move_file."""

    path: Annotated[str, msgspec.Meta(description=PATH)]
    to: Annotated[str, msgspec.Meta(description="The new path of the file, where nothing is yet.")]


def delete_file(services: FileServices, changes: Changes) -> ChangingTool:
    """Return the tool delete_file."""
    spec = ToolSpec(
        "delete_file",
        "Delete a file",
        "Deletes a file, or a link (not what it leads to). Folders are deleted with a command.",
        input_schema(DeleteFileArguments),
        "edit",
        needs_root=True,
    )

    def read(args: Any, context: CallContext) -> Intent:
        path = read_arguments(DeleteFileArguments, args).path

        async def plan(targets: Sequence[Target]) -> Plan:
            content = await removable(services, changes, targets[0], context)
            return Plan((Change(content),), f"Deleted {targets[0].shown}.")

        return Intent([(path, False)], lambda targets: f"Delete {targets[0].shown}", plan)

    return ChangingTool(spec, services, changes, read)


def move_file(services: FileServices, changes: Changes) -> ChangingTool:
    """Return the tool move_file."""
    spec = ToolSpec(
        "move_file",
        "Move a file",
        "Renames or moves a file, or a link, and makes the folders of its new path. Nothing is replaced.",
        input_schema(MoveFileArguments),
        "edit",
        needs_root=True,
    )

    def read(args: Any, context: CallContext) -> Intent:
        arguments = read_arguments(MoveFileArguments, args)

        async def plan(targets: Sequence[Target]) -> Plan:
            source, to = targets
            content = await removable(services, changes, source, context)
            changes.require_place(to)
            if await services.look(to) is not None:
                raise UnusableFileError(f"{to.shown} exists already; nothing was moved.")
            return Plan((Change(content, moved_to=to),), f"Moved {source.shown} to {to.shown}.")

        def title(targets: Sequence[Target]) -> str:
            return f"Move {targets[0].shown} to {targets[1].shown}"

        return Intent([(arguments.path, False), (arguments.to, False)], title, plan)

    return ChangingTool(spec, services, changes, read)


async def removable(
    services: FileServices, changes: Changes, target: Target, context: CallContext
) -> Content:
    """Return a file or a link that may be deleted or moved: as this chat knows it, if it has read it.

    Raises:
        UnusableFileError: it may not.
    """
    changes.require_place(target)
    found = await services.look(target)
    if found is None:
        raise UnusableFileError(await services.describe_missing(target))
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_size > MAX_TEXT):
        return Content(target, found, None, None)
    content = await changes.content(target, context)
    if content.unsaved:
        client = content.unsaved[0].client or "an editor"
        raise UnusableFileError(f"{target.shown} has unsaved changes in {client}. Ask for it to be closed.")
    seen = services.read_log.seen(context.chat_id, target.path)
    if seen is not None and seen != content.fingerprint:
        raise UnusableFileError(f"{target.shown} {CHANGED_MEANWHILE}")
    return content
