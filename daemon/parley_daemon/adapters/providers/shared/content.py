"""Parts of a message in forms that several dialects share: quoted sources, files as text, data URLs."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote, unquote_to_bytes

from msgspec.structs import replace

from parley_daemon.adapters.providers.http.lenient_json import encode_json, replace_surrogates
from parley_daemon.core.agents.content import Content, read_content
from parley_daemon.core.parts import File, Part, Source, Text, ToolResult
from parley_daemon.ports.models import PromptMessage

_SCHEME = "data:"
_TEXTUAL = re.compile(r"text/|application/(.*\+)?(json|xml|yaml|toml|javascript|x-sh)\b")


def inline_data_urls(message: PromptMessage) -> PromptMessage:
    """Return a message with the files of data URLs as data: no dialect accepts such a URL for every file."""
    if not any(type(part) is File and part.url for part in message.parts):
        return message
    return replace(message, parts=tuple(map(_inline, message.parts)))


def _inline(part: Part) -> Part:
    if not (isinstance(part, File) and part.url and is_data_url(part.url)):
        return part
    data = read_data_url(part.url)
    return Text(describe_file(part)) if data is None else replace(part, data=data, url=None)


def join_texts(texts: Iterable[str]) -> str:
    """Return texts joined by blank lines; empty ones are left out."""
    return "\n\n".join([text for text in texts if text])


def quote_source(source: Source) -> str:
    """Return a source as text: the id to cite, where it is from, its text in a Markdown fence."""
    lines, id = "", f"[{source.source_id}] " if source.origin in ("retrieval", "tool") else ""
    if source.start_line is not None:
        end = source.start_line if source.end_line is None else source.end_line
        lines = f", line {end}" if end == source.start_line else f", lines {source.start_line}-{end}"
    place = f"{id}{source.url}{lines}"
    return place if source.text is None else f"{place}:\n{_fence(source.text)}"


def describe_file(file: File) -> str:
    """Return a text in place of a file that cannot be sent: its name and type."""
    address = None if file.url and is_data_url(file.url) else file.url
    label = " ".join([word for word in (file.title, address) if word])
    return f"[File {label or 'without a name'}, {file.media_type}]"


def file_text(file: File) -> str | None:
    """Return a text file as text in a Markdown fence; None when it is not text, or not valid base64."""
    if file.data is None or not _TEXTUAL.match(file.media_type):
        return None
    try:
        text = base64.b64decode(file.data).decode("utf-8", "replace")
    except binascii.Error:
        return None  # sent as it is: the provider reports the error
    return f"{file.title or 'A file'} ({file.media_type}):\n{_fence(text)}"


def instructions_text(parts: Iterable[Part]) -> str:
    """Return the parts of a system message as text, since instructions can be nothing else."""
    texts: list[str] = []
    for part in parts:
        match part:
            case Text():
                texts.append(part.text if part.text.strip() else "")
            case Source():
                texts.append(quote_source(part))
            case File():
                texts.append(file_text(part) or describe_file(part))
            case _:
                pass
    return join_texts(texts)


def result_text(result: ToolResult) -> str:
    """Return the result of a tool as text. A file that is content stands there by its name and type."""
    text, _ = split_result(result, lambda _: False)
    return text


def failed_text(text: str, result: ToolResult) -> str:
    """Return the text of a result for an API that has no field for errors."""
    if not result.is_error or text[:5].lower() == "error":
        return text
    return f"Error: {text}" if text.strip() else "Error: the tool call failed."


def split_result(result: ToolResult, accepts: Callable[[File], bool]) -> tuple[str, list[File]]:
    """Return the result of a tool as text, and the files that are sent as such.

    The text says of the other files that they are left out.
    """
    content = result_content(result)
    if content is None:
        return encode_json(result.result).decode(), []
    files = [part for part in content if isinstance(part, File) and accepts(part)]
    sent = set(map(id, files))
    texts = [
        part.text if isinstance(part, Text) else file_text(part) or f"{describe_file(part)} (left out)"
        for part in content
        if id(part) not in sent
    ]
    return join_texts(texts), files


def result_content(result: ToolResult) -> Content | None:
    """Return the parts of a result that is a text or content; None: it is another JSON value."""
    value = result.result
    if isinstance(value, str):
        return (Text(value),)
    content = read_content(value)
    return None if content is None else tuple([_inline_content(part) for part in content])


def _inline_content(part: Text | File) -> Text | File:
    inlined = _inline(part)
    return inlined if isinstance(inlined, Text | File) else part


def answer_text(part: Part) -> str:
    """Return a part of an answer as text; "" when it has no text form."""
    match part:
        case Text():
            return part.text
        case File():
            return describe_file(part)
        case _:
            return ""


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.removesuffix(chr(10))}\n{fence}"


def is_data_url(url: str) -> bool:
    """Return whether a URL holds the file itself (RFC 2397)."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def read_data_url(url: str) -> str | None:
    """Return the file in a data URL as base64; None when it is empty."""
    kind, _, data = url[len(_SCHEME) :].partition(",")
    if not kind.rstrip().lower().endswith(";base64"):
        return base64.b64encode(unquote_to_bytes(replace_surrogates(data))).decode() or None
    text = "".join(unquote(data).split())
    return text + "=" * (-len(text) % 4) or None
