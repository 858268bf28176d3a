"""What a package's tool has returned, as a result within the limits that all tools have."""

import dataclasses
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from parley_daemon.adapters.tools.commands.output import Output, find_limit
from parley_daemon.adapters.tools.commands.storage import OutputFiles
from parley_daemon.adapters.tools.files.texts import printable
from parley_daemon.core.agents.content import read_content
from parley_daemon.core.nesting import MAX_LEVELS, is_too_deep
from parley_daemon.core.parts import File
from parley_daemon.ports.tools import CallContext, ToolFailedError

MAX_CONTENT = 4 * 2**20
"""Bytes of a result with files, as JSON."""

MAX_TEXT = 64 * 2**20
"""Characters of a result that are looked at."""


def text_part(text: str) -> dict[str, Any]:
    """Return a text as a part of a result."""
    return {"type": "text", "text": text}


def file_part(data: bytes, media_type: str, title: str | None = None) -> dict[str, Any]:
    """Return a file, such as an image, as a part of a result: `file_part(png, "image/png")`."""
    part = {"type": "file", "mediaType": media_type, "data": b64encode(data).decode()}
    return part if title is None else {**part, "title": title}


async def limit_result(result: Any, context: CallContext, files: OutputFiles) -> Any:
    """Return a result as a JSON value that is not too large: of a longer text, head and tail are kept.

    Raises:
        ToolFailedError: it cannot be a result.
    """
    if result is None:
        return "Done."
    if isinstance(result, str):
        return await _limit_text(result, context, files)
    value = _json_of(result)
    content = read_content(value)
    if content is None:
        text = msgspec.json.encode(value).decode()
        return (
            value
            if len(text) <= find_limit(context.context_limit)
            else await _limit_text(text, context, files)
        )
    parts: list[dict[str, Any]] = []
    for part, shown in zip(content, cast("list[dict[str, Any]]", value), strict=True):
        is_file = isinstance(part, File)
        parts.append(shown if is_file else text_part(await _limit_text(part.text, context, files)))
    size = len(msgspec.json.encode(parts))
    if size > MAX_CONTENT:
        raise ToolFailedError(f"The result has {size:,} bytes as JSON; it may have {MAX_CONTENT:,}.")
    return parts


def _json_of(result: Any) -> Any:
    """Return a value as JSON has it.

    Raises:
        ToolFailedError: JSON does not have it.
    """
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = dataclasses.asdict(result)
    try:
        value = _printable(msgspec.to_builtins(result, str_keys=True))
        if is_too_deep(value):
            raise ToolFailedError(f"The result is nested too deep; it may have {MAX_LEVELS} levels.")
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        what = type(result).__name__
        raise ToolFailedError(f"The tool has returned what is not JSON ({what}: {error}).") from None


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list | tuple):
        return [_printable(one) for one in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {printable(str(key)): _printable(one) for key, one in cast("Mapping[Any, Any]", value).items()}
    return value


async def _limit_text(text: str, context: CallContext, files: OutputFiles) -> str:
    limit = find_limit(context.context_limit)
    if len(text) > MAX_TEXT:
        text = f"{text[: MAX_TEXT // 2]}\n[…]\n{text[-MAX_TEXT // 2 :]}"
    text = printable(text)
    data = text.encode()
    if len(data) <= limit:
        return text
    id = files.new_id()
    path = files.path(context.chat_id, id)
    if path is None:
        raise ToolFailedError(f"The result has {len(data):,} bytes; it may have {limit:,}.")
    await files.clean()
    output = Output(limit, path, is_file_needed=False)
    await output.add(data, is_last=True)
    excerpt = output.excerpt()
    if not excerpt.omitted:  # without control characters it is short enough
        return excerpt.head
    start = len(excerpt.head.encode())
    more = f'; job_output {{"id": "{id}", "offset": {start}}} has them' if output.is_in_file else ""
    return f"{excerpt.head}\n[{excerpt.omitted:,} bytes are left out{more}]\n{excerpt.tail}"
