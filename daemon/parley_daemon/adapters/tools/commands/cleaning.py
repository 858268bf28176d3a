"""The output of commands as text: UTF-8 that cannot steer a terminal."""

import codecs
import re

_ESCAPES = re.compile(
    "\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # colours, moves of the cursor
    "|[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\|(?=\x1b)|$)"  # strings to the terminal, such as its title
    r"|[ -/]*[0-Z\\^-~]"
    ")"
)
_UNFINISHED = re.compile("\x1b(?:\\[[0-?]*[ -/]*|[\\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)?$")
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_MAX_UNFINISHED = 4096


class OutputCleaner:
    """Cleans output that comes in pieces. Control characters and escape sequences are removed.

    Bytes that are not UTF-8 become U+FFFD. A carriage return ends a line, as a program that redraws its line
    means it.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""

    def clean(self, data: bytes, *, is_last: bool = False) -> str:
        """Return the text of a piece. The beginning of an escape sequence waits for the next piece."""
        text = self._waiting + self._decoder.decode(data, is_last)
        self._waiting = ""
        if not is_last:
            unfinished = _UNFINISHED.search(text)
            if unfinished is not None and len(unfinished[0]) <= _MAX_UNFINISHED:
                text, self._waiting = text[: unfinished.start()], unfinished[0]
            elif text.endswith("\r"):
                text, self._waiting = text[:-1], "\r"
        if "\x1b" in text:
            text = _ESCAPES.sub("", text)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text if text.isascii() and text.isprintable() else _CONTROLS.sub("", text)
