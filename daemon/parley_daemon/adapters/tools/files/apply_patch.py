"""apply_patch: changes of several files, all or none."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.files.changes import Change, Changes, Plan, rewritten
from parley_daemon.adapters.tools.files.changing_tool import ChangingTool, Intent
from parley_daemon.adapters.tools.files.contents import Content, UnusableFileError
from parley_daemon.adapters.tools.files.move_file import removable
from parley_daemon.adapters.tools.files.patches import FORMAT, PatchError, Section, parse_patch, patched
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, ToolInputError

MAX_FILES = 100
"""Files of one patch."""


class ApplyPatchArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of apply_patch."""

    patch: Annotated[str, msgspec.Meta(description=f"The patch, in this form:\n{FORMAT}")]


def apply_patch(services: FileServices, changes: Changes) -> ChangingTool:
    """Return the tool apply_patch."""
    spec = ToolSpec(
        "apply_patch",
        "Apply a patch",
        "Adds, changes, moves and deletes several files, all or none. Files that are changed have to be read "
        "before. The lines of a hunk have to be in the file exactly as they are given.",
        input_schema(ApplyPatchArguments),
        "edit",
        needs_root=True,
    )

    def read(args: Any, context: CallContext) -> Intent:
        patch = read_arguments(ApplyPatchArguments, args).patch
        try:
            sections = parse_patch(patch)
        except PatchError as error:
            raise ToolInputError(str(error)) from None
        paths = [
            (path, section.kind != "Delete" and section.move_to is None)
            for section in sections
            for path in (section.path, section.move_to)
            if path is not None
        ]
        if len(paths) > MAX_FILES:
            raise ToolInputError(f"The patch names {len(paths)} files; a patch may have {MAX_FILES}.")

        async def plan(targets: Sequence[Target]) -> Plan:
            _refuse_same(targets)
            left = list(targets)
            planned: list[Change] = []
            done: list[str] = []
            for section in sections:
                target = left.pop(0)
                to = left.pop(0) if section.move_to is not None else None
                planned += await _planned(services, changes, section, target, to, context)
                moved = f" to {to.shown}" if to is not None else ""
                verb = {"Add": "added", "Delete": "deleted"}.get(section.kind, "moved" if to else "changed")
                done.append(f"{verb} {target.shown}{moved}")
            return Plan(tuple(planned), f"Applied: {', '.join(done)}.")

        def title(targets: Sequence[Target]) -> str:
            names = [target.shown for target in targets]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            return f"Patch {', '.join(names[:3])}{more}"

        return Intent(paths, title, plan)

    return ChangingTool(spec, services, changes, read)


def _refuse_same(targets: Sequence[Target]) -> None:
    """Refuse two paths that lead to one file."""
    paths = [target.path for target in targets]
    for target in targets:
        if paths.count(target.path) > 1:
            raise UnusableFileError(f"Two paths of the patch lead to {target.shown}. Use one section for it.")


async def _planned(
    services: FileServices,
    changes: Changes,
    section: Section,
    target: Target,
    to: Target | None,
    context: CallContext,
) -> list[Change]:
    """Return the changes of one section."""
    if section.kind == "Delete":
        return [Change(await removable(services, changes, target, context))]
    if section.kind == "Add":
        return [rewritten(await _free(services, changes, target, context), section.text)]
    if to is None:
        content = await changes.known(target, context)
        return [rewritten(content, await _new_text(content, section))]
    free = await _free(services, changes, to, context)
    content = await removable(services, changes, target, context)
    if not section.hunks:
        return [Change(content, moved_to=to)]
    changes.require_known(content, context)
    text = await _new_text(content, section)
    if content.found is None or content.on_disk is None:
        raise UnusableFileError(f"{target.shown} is not on the disk, or is a link; it cannot be moved.")
    data = content.on_disk.bytes_of(text)
    mode = content.found.st_mode & 0o7777
    return [Change(free, text, data, mode=mode), Change(content)]


async def _free(services: FileServices, changes: Changes, target: Target, context: CallContext) -> Content:
    content = await changes.content(target, context)
    if content.exists or await services.look(target) is not None:
        raise UnusableFileError(f"{target.shown} exists already; nothing was changed.")
    return content


async def _new_text(content: Content, section: Section) -> str:
    name, text = content.target.shown, content.text
    if text is None:
        raise UnusableFileError(f"{name} is a binary file; a patch changes text only.")
    try:
        new = await to_thread.run_sync(patched, text, section.hunks, abandon_on_cancel=True)
    except PatchError as error:
        raise UnusableFileError(f"{name}: {error}") from None
    if new == text:
        raise UnusableFileError(f"{name}: the patch would change nothing.")
    return new
