"""The content of a message: the words of the command line, standard input, and files.

Theory of operation. Standard input is read only where the user asks for it: by the word `-`, by `-f -`, or by
giving no question at all. Reading it unasked would eat the input of a loop (`while read`), and would wait
forever where standard input is open and silent. Piped input that was not asked for is left alone, and
UnreadInput reports it on standard error: the model would otherwise answer about nothing.
"""

import io
import os
import stat
import sys
from collections.abc import Sequence

from parley_clients.cli.errors import UsageError, check_text, print_error
from parley_clients.results import Json

_INPUT = "-"


def read_content(words: Sequence[str], files: Sequence[str] = ()) -> str | list[Json]:
    """Return the content of a message: a text, or a list of input parts.

    The words are the question. A `-` before or after it stands for standard input, which becomes a part of
    its own; without any word standard input is the question.

    Raises:
        UsageError: there is nothing to send, or something cannot be read or sent.
    """
    texts, question = _split(words)
    if _INPUT in texts and _INPUT in files:
        raise UsageError("Standard input can be read only once: as the text -, or as the file -.")
    if not texts and _INPUT not in files and not sys.stdin.isatty():
        text = _input_text(_read_input())
        parts = [_text(text)] if text.strip() else []
    else:
        parts = [_input_part(bool(question)) if text == _INPUT else _text(text) for text in texts]
    if files:
        from parley_clients.cli.attachments import read_files

        parts += read_files(files, _read_input)
    if not parts:
        raise UsageError("There is no question. Give a text, or - to read standard input.")
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def read_text(words: Sequence[str]) -> str:
    """Return the text that the words are, or standard input for the word `-` alone.

    Raises:
        UsageError: the text is not UTF-8.
    """
    return _input_text(_read_input()) if list(words) == [_INPUT] else check_text(" ".join(words), "The text")


def _split(words: Sequence[str]) -> tuple[list[str], str]:
    """Return the texts of a message in order, "-" for standard input, and the question alone.

    Only the first or the last word stands for standard input: in `what is 3 - 2` the - is a minus.
    """
    middle = list(words)
    before = [middle.pop(0)] if middle[:1] == [_INPUT] else []
    after = [middle.pop()] if middle[-1:] == [_INPUT] and not before else []
    question = check_text(" ".join(middle), "The question")
    question = question if question.strip() else ""
    return [*before, *([question] if question else []), *after], question


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _input_part(has_question: bool) -> Json:
    """Return standard input as a text, or as a file if it is an image or the like."""
    data = _read_input()
    if not data.strip():
        raise UsageError("Standard input is empty." if has_question else "There is no question.")
    from parley_clients.cli.attachments import file_part, media_type_of

    return _text(_input_text(data)) if media_type_of(data) is None else file_part(_INPUT, data)


def _read_input() -> bytes:
    return sys.stdin.buffer.read()


def _input_text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("Standard input is not UTF-8.") from None


class UnreadInput:
    """Reports piped input that a command does not read: once, as soon as there is some."""

    def __init__(self, words: Sequence[str], files: Sequence[str] = ()) -> None:
        texts, question = _split(words)
        self._is_settled = _INPUT in texts or _INPUT in files or not question

    def report(self) -> None:
        """Say on standard error that input is waiting, unless that was said. Reads nothing, never waits."""
        if not self._is_settled and _has_input():
            self._is_settled = True
            print_error("Standard input was not read. To send it with the question, add - to the command.")


def _has_input() -> bool:
    """Return whether standard input is a pipe, a socket or a file with something to read now."""
    if sys.platform == "win32":
        return False
    import fcntl
    import termios

    try:
        descriptor = sys.stdin.fileno()
        state = os.fstat(descriptor)
        if stat.S_ISREG(state.st_mode):
            return os.lseek(descriptor, 0, os.SEEK_CUR) < state.st_size
        if not (stat.S_ISFIFO(state.st_mode) or stat.S_ISSOCK(state.st_mode)):
            return False
        return any(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except (OSError, ValueError, io.UnsupportedOperation):
        return False
