"""read_file: lines of a text file, or an image."""

import errno
import os
from base64 import b64encode
from mimetypes import guess_type
from typing import Annotated, Any

import anyio
import msgspec
from anyio import to_thread

from parley_daemon.adapters.tools.files.contents import Content, UnusableFileError
from parley_daemon.adapters.tools.files.services import FileServices
from parley_daemon.adapters.tools.files.texts import MAX_TEXT, line_end_of, lines_of, printable
from parley_daemon.adapters.tools.paths import opening
from parley_daemon.adapters.tools.paths.resolving import Target
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor

MAX_LINES = 2_000
MAX_LINE = 2_000
"""Characters of a line that are shown."""

MAX_BYTES = 50 * 1024
"""Bytes of text, in UTF-8, that one call returns."""

MAX_IMAGE = 4 * 1024 * 1024
"""Bytes of an image that is returned; the limit of providers is about 5 MiB."""

MAX_SEARCHED = 1024 * 1024 * 1024
"""Bytes at the beginning of a very large file in which lines are looked for."""

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
_readers = anyio.CapacityLimiter(8)


class ReadFileArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The arguments of read_file."""

    path: Annotated[str, msgspec.Meta(description="Relative to the first folder of the chat, or absolute.")]
    start_line: Annotated[int, msgspec.Meta(ge=1, description="The first line to show, from 1.")] = 1
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES, description="How many lines to show.")] = MAX_LINES


class ReadFile:
    """Implements Tool."""

    def __init__(self, services: FileServices) -> None:
        self._services = services
        self.spec = ToolSpec(
            "read_file",
            "Read a file",
            "Shows lines of a text file, with unsaved changes of editors, or an image. The first line, in "
            "brackets, describes what follows it. Lines end as LF there, whatever they do in the file. "
            f"At most {MAX_LINES} lines, {MAX_BYTES // 1024} KiB. Read a file before you change it.",
            input_schema(ReadFileArguments),
            "read",
            needs_root=True,
        )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        arguments = read_arguments(ReadFileArguments, args)
        target = await self._services.resolve(arguments.path, context)
        return Inspection(f"Read {target.shown}", Preview(paths=(target.path,)), paths=(target.use("read"),))

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool."""
        arguments = read_arguments(ReadFileArguments, args)
        try:
            target = await self._services.resolve_again(arguments.path, context, inspection)
            return await self._read(target, arguments, context)
        except UnusableFileError as error:
            return ToolOutput(str(error), "failed")

    async def _read(self, target: Target, arguments: ReadFileArguments, context: CallContext) -> ToolOutput:
        services = self._services
        if not await services.editors.documents(context.owner, target.path):
            size = await to_thread.run_sync(_size, target, abandon_on_cancel=True, limiter=_readers)
            if size > MAX_TEXT:
                work = self._read_large, target, size, arguments
                return await to_thread.run_sync(*work, abandon_on_cancel=True, limiter=_readers)
        content = await services.contents.read(context.owner, target)
        if not content.exists:
            raise UnusableFileError(await services.describe_missing(target))
        output, seen = await to_thread.run_sync(_show, content, arguments, abandon_on_cancel=True)
        services.read_log.note(context.chat_id, target.path, seen)
        return output

    def _read_large(self, target: Target, size: int, arguments: ReadFileArguments) -> ToolOutput:
        """Return lines of a file that is not read as a whole."""
        name, first = target.shown, arguments.start_line
        try:
            with opening.opened(target.path) as (descriptor, found):
                if self._services.resolver.is_own_file(found):
                    raise UnusableFileError(f"{name} belongs to parleyd itself. Tools do not read it.")
                lines, has_more = _find_lines(descriptor, first, arguments.limit)
        except OSError as error:
            raise UnusableFileError(
                f"{name} cannot be read: {error.strerror or os.strerror(error.errno or errno.EIO)}."
            ) from None
        if lines is None:
            return ToolOutput(f"[{name}: a binary file, {size:,} bytes; its content is not shown]")
        if not lines:
            return ToolOutput(f"{name} has no line {first} in its first {MAX_SEARCHED >> 20} MiB.", "failed")
        shown = _fitting(lines)
        last = first - 1 + len(shown)
        more = f", go on at startLine {last + 1}" if has_more or len(shown) < len(lines) else ""
        header = f"[{name}: lines {first}-{last} of a file of {size:,} bytes{more}]"
        return ToolOutput(printable(f"{header}\n{''.join(shown)}"))

    def sandbox(self, context: CallContext) -> None:
        """See Tool."""


def _show(content: Content, arguments: ReadFileArguments) -> tuple[ToolOutput, bytes]:
    """Return the output for a file, and its fingerprint."""
    if (text := content.text) is None:
        return _show_binary(content.target, content.data or b""), content.fingerprint
    lines = lines_of(text)
    first, name = arguments.start_line, content.target.shown
    if first > max(len(lines), 1):
        problem = f"{name} has {len(lines)} lines; there is no line {first}."
        return ToolOutput(problem, "failed"), content.fingerprint
    shown = _fitting(lines[first - 1 : first - 1 + arguments.limit])
    last = first - 1 + len(shown)
    where = f"lines {first}-{last} of {len(lines)}" if lines else "empty"
    if last < len(lines):
        where += f", go on at startLine {last + 1}"
    header = ", ".join([f"{name}: {where}", *_notes(content, text)])
    return ToolOutput(printable(f"[{header}]\n{''.join(shown)}")), content.fingerprint


def _notes(content: Content, text: str) -> list[str]:
    notes: list[str] = []
    ends = line_end_of(text)
    if "\r" in text:
        notes.append({"\r\n": "CRLF line ends", "\r": "CR line ends"}.get(ends or "", "mixed line ends"))
    on_disk = content.on_disk
    if on_disk is not None and on_disk.encoding != "utf-8":
        notes.append(on_disk.encoding.upper())
    if on_disk is not None and on_disk.mark:
        notes.append("byte order mark")
    if content.unsaved:
        notes.append(f"unsaved changes in {content.unsaved[0].client or 'an editor'}")
    if text and text[-1] not in "\r\n":
        notes.append("no line end at the end of the file")
    return notes


def _fitting(lines: list[str]) -> list[str]:
    """Return the first of these lines that fit into a result, each ended by a line feed and cut if long."""
    shown: list[str] = []
    size = 0
    for line in lines:
        text = line.rstrip("\r\n")
        if len(text) > MAX_LINE:
            text = f"{text[:MAX_LINE]}… [{len(text) - MAX_LINE:,} more characters]"
        size += len(text.encode("utf-8", "surrogatepass")) + 1
        if size > MAX_BYTES and shown:
            break
        shown.append(f"{text}\n")
    return shown


def _show_binary(target: Target, data: bytes) -> ToolOutput:
    media_type = next((kind for magic, kind in _IMAGES if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        media_type = "image/webp"
    if media_type is not None and len(data) <= MAX_IMAGE:
        title = f"[{target.shown}: {media_type}, {len(data):,} bytes]"
        image = {"type": "file", "mediaType": media_type, "data": b64encode(data).decode()}
        return ToolOutput([{"type": "text", "text": title}, image])
    guessed = media_type or guess_type(target.path)[0] or "of an unknown type"
    return ToolOutput(
        f"[{target.shown}: a binary file ({guessed}), {len(data):,} bytes; its content is not shown]"
    )


def _size(target: Target) -> int:
    """Return the size of the file, 0 if there is none that can be opened."""
    try:
        found = opening.look(target.path)
    except OSError:
        return 0
    return found.st_size if found is not None else 0


def _find_lines(descriptor: int, first: int, limit: int) -> tuple[list[str] | None, bool]:
    """Return lines of a large file, and whether more follow. None: it is binary."""
    passed, kept, is_done = 0, bytearray(), False
    searched = 0
    with open(descriptor, "rb", closefd=False) as file:
        while not is_done and searched < MAX_SEARCHED and (block := file.read(1 << 20)):
            if not searched and b"\0" in block:
                return None, False
            searched += len(block)
            if passed < first - 1:
                ends = block.count(b"\n")
                if passed + ends < first - 1:
                    passed += ends
                    continue
                at = 0
                while passed < first - 1:
                    at = block.index(b"\n", at) + 1
                    passed += 1
                block = block[at:]
            kept += block
            is_done = kept.count(b"\n") > limit or len(kept) > 8 * MAX_BYTES
    lines = kept.decode("utf-8", "replace").splitlines(keepends=True) if kept else []
    return lines[:limit], is_done or len(lines) > limit
