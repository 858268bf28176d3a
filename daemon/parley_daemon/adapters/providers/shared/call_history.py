"""Repairs the tool calls of a history, so that no API refuses the request for one of them.

A model may write arguments that are no JSON or were cut off, and names that are empty or that another maker's
API does not accept; ids may be longer than an API allows. Such calls are stored as they came. When a request
is built, the arguments become an object, and names and ids are made fit: the same one always in the same way,
so that the beginning of a prompt stays the same from request to request. That each call has one result and an
id of its own is seen to before (`core/prompts`).
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import cast

import msgspec
from msgspec.structs import replace

from parley_daemon.core.parts import Part, ToolCall, ToolResult
from parley_daemon.ports.models import PromptMessage

DEFAULT_NAME = "tool"
"""The name of a call whose model gave it none."""

MAX_NAME_LENGTH = 64
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_HASH_LENGTH = 8


def fit_name(name: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """Return a name of a tool that every API accepts: letters, digits, "_" and "-"."""
    return _NOT_IN_NAMES.sub("_", name)[:max_length] or DEFAULT_NAME


def fit_id(id: str, max_length: int) -> str:
    """Return an id with at most so many characters; long ones end in a checksum."""
    if len(id) <= max_length:
        return id
    checksum = zlib.crc32(id.encode("utf-8", "surrogatepass"))
    return f"{id[: max_length - _HASH_LENGTH - 1]}-{checksum:0{_HASH_LENGTH}x}"


def safe_id(id: str, max_length: int) -> str:
    """Return an id of letters, digits, "_" and "-". One that had others ends in a checksum."""
    if _NOT_IN_NAMES.search(id) is None:
        return fit_id(id, max_length)
    checksum = zlib.crc32(id.encode("utf-8", "surrogatepass"))
    return fit_id(f"{_NOT_IN_NAMES.sub('_', id)}-{checksum:0{_HASH_LENGTH}x}", max_length)


def read_arguments(args: object) -> dict[str, object] | None:
    """Return the arguments of a call as an object; None when they are none.

    Some models encode the object once more, as a string.
    """
    if isinstance(args, str):
        try:
            args = cast("object", msgspec.json.decode(args))
        except (ValueError, RecursionError):
            return None
    return dict(cast("Mapping[str, object]", args)) if isinstance(args, Mapping) else None


def repair_calls(
    message: PromptMessage,
    names: dict[str, str],
    *,
    name: Callable[[str], str] = fit_name,
    fit: Callable[[str], str] = str,
    keeps_values: bool = False,
) -> PromptMessage:
    """Return a message with calls that an API accepts. A result gets the name of its call.

    `names` are the sent names of calls by their ids; this adds to them. `name` makes the name of a tool fit,
    and `fit` the id of a call. `keeps_values`: arguments that are no object become the `value` of one;
    otherwise an empty object stands for them.
    """
    parts: list[Part] = []
    changed = False
    for part in message.parts:
        match part:
            case ToolCall(id, called, args):
                names[id] = fitted = name(called)
                arguments = read_arguments(args)
                if arguments is None:
                    arguments = {"value": args} if keeps_values else {}
                parts.append(ToolCall(fit(id), fitted, arguments))
                changed = True
            case ToolResult(id, called):
                fitted = names.get(id) or name(called)
                parts.append(replace(part, tool_call_id=fit(id), tool_name=fitted))
                changed = True
            case _:
                parts.append(part)
    return replace(message, parts=tuple(parts)) if changed else message
