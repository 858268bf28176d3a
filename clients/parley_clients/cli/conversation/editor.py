"""The user's own editor: $VISUAL, else $EDITOR, else vi. It edits a text, or opens a file at a line."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path, PurePath

from parley_clients.cli.errors import CommandError

_GOTO = frozenset({"code", "code-insiders", "codium", "vscodium", "cursor", "windsurf"})
_COLON = frozenset({"subl", "hx", "helix", "zed", "zeditor"})


def edit_text(text: str) -> str:
    """Open the text in the editor, wait for its end, and return the new text.

    Raises:
        CommandError: the editor cannot be started or failed, or what it left is not UTF-8.
    """
    with tempfile.TemporaryDirectory(prefix="parley-") as directory:
        file = Path(directory) / "message.md"
        file.write_text(text, "utf-8")
        try:
            _run([str(file)], "The text is unchanged.")
            return file.read_bytes().decode("utf-8").rstrip("\n")
        except UnicodeDecodeError:
            raise CommandError("The edited text is not UTF-8. The text is unchanged.") from None


def open_file(path: Path, line: int) -> None:
    """Open a file at a line, from 1, and wait for the editor's end.

    Raises:
        CommandError: there is no such file, or the editor cannot be started or failed.
    """
    if not path.is_file():
        raise CommandError(f"There is no file {path}.")
    _run(place_arguments(_command(), path, line), "")


def place_arguments(command: str, path: Path, line: int) -> list[str]:
    """Return the arguments by which an editor opens a file at a line.

    `+LINE FILE` is what vi, nano, emacs and most others know.
    """
    name = PurePath(next(iter(_words(command)), "")).stem.lower()
    if name in _GOTO:
        return ["--goto", f"{path}:{line}"]
    return [f"{path}:{line}"] if name in _COLON else [f"+{line}", str(path)]


def _command() -> str:
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _run(arguments: list[str], what_remains: str) -> None:
    command = _command()
    try:
        done = subprocess.run([*shlex.split(command), *arguments], check=False)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"Cannot edit with {command}: {reason}. Set EDITOR to your editor.") from None
    if done.returncode:
        raise CommandError(f"The editor {command} ended with {done.returncode}. {what_remains}".rstrip())
