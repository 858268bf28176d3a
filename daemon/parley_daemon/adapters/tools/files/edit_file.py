"""edit_file and write_file: changes of one text file."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.files import matching
from parley_daemon.adapters.tools.files.changes import Change, Changes, Plan, rewritten
from parley_daemon.adapters.tools.files.changing_tool import ChangingTool, Intent
from parley_daemon.adapters.tools.files.contents import Content, UnusableFileError
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import MAX_TEXT, line_end_of
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.tools import ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, ToolInputError

PATH = "Relative to the first folder of the chat, or absolute."
OLD_TEXT = "The text to replace, exactly as it is, with enough lines to be there only once."


class EditFileArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of edit_file."""

    path: Annotated[str, msgspec.Meta(description=PATH)]
    old_text: Annotated[str, msgspec.Meta(description=OLD_TEXT)]
    new_text: Annotated[str, msgspec.Meta(description="What replaces it. Empty: it is deleted.")]
    replace_all: Annotated[bool, msgspec.Meta(description="Replace every place.")] = False


class WriteFileArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of write_file."""

    path: Annotated[str, msgspec.Meta(description=PATH)]
    content: Annotated[str, msgspec.Meta(description="The whole new text of the file.")]


def edit_file(services: FileServices, changes: Changes) -> ChangingTool:
    """Return the tool edit_file."""
    spec = ToolSpec(
        "edit_file",
        "Edit a file",
        "Replaces a text in a file that you have read. oldText must be there exactly once, unless replaceAll "
        "is set. Encoding and line ends of the file stay as they are.",
        input_schema(EditFileArguments),
        "edit",
        needs_root=True,
    )

    def read(args: Any, context: CallContext) -> Intent:
        arguments = read_arguments(EditFileArguments, args)

        async def plan(targets: Sequence[Target]) -> Plan:
            content = await changes.known(targets[0], context)
            return await to_thread.run_sync(_edit, content, arguments, abandon_on_cancel=True)

        return Intent([(arguments.path, True)], lambda targets: f"Edit {targets[0].shown}", plan)

    return ChangingTool(spec, services, changes, read)


def write_file(services: FileServices, changes: Changes) -> ChangingTool:
    """Return the tool write_file."""
    spec = ToolSpec(
        "write_file",
        "Write a file",
        "Writes a new file, with its folders, or replaces the whole text of a file that you have read. "
        "Encoding and line ends of an existing file stay as they are.",
        input_schema(WriteFileArguments),
        "edit",
        needs_root=True,
    )

    def read(args: Any, context: CallContext) -> Intent:
        arguments = read_arguments(WriteFileArguments, args)
        if len(arguments.content.encode("utf-8", "surrogatepass")) > MAX_TEXT:
            raise ToolInputError(f"The content has more than {MAX_TEXT >> 20} MiB.")

        async def plan(targets: Sequence[Target]) -> Plan:
            content = await changes.content(targets[0], context)
            if content.exists:
                changes.require_known(content, context)
            return await to_thread.run_sync(_write, content, arguments.content, abandon_on_cancel=True)

        return Intent([(arguments.path, True)], lambda targets: f"Write {targets[0].shown}", plan)

    return ChangingTool(spec, services, changes, read)


def _edit(content: Content, arguments: EditFileArguments) -> Plan:
    name, text = content.target.shown, content.text
    if text is None:
        raise UnusableFileError(f"{name} is a binary file; edit_file changes text only.")
    try:
        done = matching.replace(
            text, arguments.old_text, arguments.new_text, replace_all=arguments.replace_all
        )
    except matching.NoMatchError as error:
        raise UnusableFileError(f"{name}: {error}") from None
    where = ", ".join(str(line) for line in done.lines)
    places = f"{done.number} places, at the lines {where}" if done.number > 1 else f"line {where}"
    return Plan((rewritten(content, done.text, done.note),), f"Edited {name}: {places}.")


def _write(content: Content, text: str) -> Plan:
    name, before = content.target.shown, content.text
    count = f"{len(text.encode('utf-8', 'surrogatepass')):,} bytes"
    if not content.exists:
        return Plan((rewritten(content, text),), f"Created {name}: {count}.")
    if before is None:
        change = Change(content, text, text.encode("utf-8", "replace"))
        return Plan((change,), f"Replaced the binary file {name} by text: {count}.")
    note = None
    if line_end_of(before) == "\r\n" and "\r" not in text and "\n" in text:
        text, note = text.replace("\n", "\r\n"), "lines end with CRLF, as before"
    if text == before:
        raise UnusableFileError(f"{name} has this text already; nothing was written.")
    return Plan((rewritten(content, text, note),), f"Wrote {name}: {count}.")
