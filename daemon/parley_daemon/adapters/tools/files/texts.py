"""Files as text and back, so that every byte outside of a change stays as it is.

An encoding is used only if it gives the same bytes back. What is neither UTF-8 nor has a byte order mark is
read as Latin-1, in which each byte is one character.
"""

import codecs
import re

import msgspec

MAX_TEXT = 8 * 1024 * 1024
"""Bytes of a file that is read or changed as a whole."""

LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""A line with its end. Lines end as in editors: at \\n, \\r\\n or \\r."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class UnencodableError(Exception):
    """A text has characters that the encoding of the file does not have. The message is a sentence."""


class FileText(msgspec.Struct, frozen=True, gc=False):
    """A file as text. `mark` is its byte order mark, which is no part of the text."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""

    def bytes_of(self, text: str) -> bytes:
        """Return another text as bytes, in the encoding of this one.

        Raises:
            UnencodableError: that is not possible.
        """
        try:
            return self.mark + text.encode(self.encoding, _errors(self.encoding))
        except UnicodeEncodeError as error:
            character = text[error.start]
            problem = f"the file is in {self.encoding}, which has no {character!r} (U+{ord(character):04X})"
            raise UnencodableError(problem) from None


def decode(data: bytes) -> FileText | None:
    """Return a file as text, None if it is binary."""
    for mark, encoding in _MARKS:
        if data.startswith(mark) and (found := _decode(data, encoding, mark)) is not None:
            return found
    if b"\0" in data:
        return None
    return _decode(data, "utf-8", b"") or FileText(data.decode("latin-1"), "latin-1")


def _decode(data: bytes, encoding: str, mark: bytes) -> FileText | None:
    try:
        text = data[len(mark) :].decode(encoding, _errors(encoding))
        if mark + text.encode(encoding, _errors(encoding)) != data:
            return None
    except UnicodeError:
        return None
    return FileText(text, encoding, mark)


def _errors(encoding: str) -> str:
    return "surrogatepass" if encoding.startswith("utf-16") else "strict"


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their ends."""
    return LINE.findall(text)


def count_lines(text: str) -> int:
    """Return how many lines a text has."""
    ends = text.count("\n")
    if "\r" in text:
        ends += text.count("\r") - text.count("\r\n")
    return ends + (text != "" and text[-1] not in "\r\n")


def line_end_of(text: str) -> str | None:
    """Return how all lines of a text end, None if they end differently or none ends."""
    windows, returns, feeds = text.count("\r\n"), text.count("\r"), text.count("\n")
    if windows:
        return "\r\n" if windows == returns == feeds else None
    if returns:
        return "\r" if not feeds else None
    return "\n" if feeds else None


def printable(text: str) -> str:
    """Return a text that can be sent as JSON: without halves of surrogate pairs."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
