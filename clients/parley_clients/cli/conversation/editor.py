"""Edits a text in the user's own editor: $VISUAL, else $EDITOR, else vi."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from parley_clients.cli.errors import CommandError


def edit_text(text: str) -> str:
    """Open the text in the editor, wait for its end, and return the new text.

    Raises:
        CommandError: the editor cannot be started or failed, or what it left is not UTF-8.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="parley-") as directory:
        file = Path(directory) / "message.md"
        file.write_text(text, "utf-8")
        try:
            done = subprocess.run([*shlex.split(command), str(file)], check=False)
            if done.returncode:
                raise CommandError(
                    f"The editor {command} ended with {done.returncode}. The text is unchanged."
                )
            return file.read_bytes().decode("utf-8").rstrip("\n")
        except UnicodeDecodeError:
            raise CommandError("The edited text is not UTF-8. The text is unchanged.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CommandError(f"Cannot edit with {command}: {reason}. Set EDITOR to your editor.") from None
