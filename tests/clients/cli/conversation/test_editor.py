"""The user's own editor: how it is told the line of a file."""

from pathlib import Path

import pytest

from parley_clients.cli.conversation.editor import open_file, place_arguments
from parley_clients.cli.errors import CommandError


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("vi", ["+7", "/a b.py"]),
        ("/usr/bin/emacsclient -nw", ["+7", "/a b.py"]),
        ("code --wait", ["--goto", "/a b.py:7"]),
        ("hx", ["/a b.py:7"]),
    ],
)
def test_each_editor_is_told_the_line_as_it_understands_it(command: str, arguments: list[str]) -> None:
    assert place_arguments(command, Path("/a b.py"), 7) == arguments


def test_a_file_is_opened_and_a_failure_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, log = tmp_path / "a.py", tmp_path / "log"
    file.write_text("x\n", "utf-8")
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\necho "$@" > {log}\n', "utf-8")
    editor.chmod(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", str(editor))
    open_file(file, 3)
    assert log.read_text("utf-8") == f"+3 {file}\n"
    with pytest.raises(CommandError, match="There is no file"):
        open_file(tmp_path / "gone", 1)
    monkeypatch.setenv("EDITOR", "false")
    with pytest.raises(CommandError, match="The editor false ended with 1"):
        open_file(file, 1)
