"""`/sources` of `parley chat`: the sources of the last answer, and opening one."""

from collections.abc import Generator
from pathlib import Path

import pytest

from parley_clients import sync
from parley_clients.cli.arguments import make_parser
from parley_clients.cli.conversation.commands import run_command
from parley_clients.cli.conversation.outcomes import Context, OpenFile, Show
from parley_clients.cli.errors import CommandError
from tests.support.processes.daemon import DaemonProcess


@pytest.fixture
def context(shared_daemon: DaemonProcess) -> Generator[Context]:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        yield Context(client, client.create_chat(), make_parser().parse_args(["chat"]))


def test_the_files_of_the_last_question_are_listed_and_opened_where_they_are_now(
    context: Context, tmp_path: Path
) -> None:
    file = tmp_path / "work.py"
    file.write_text("import os\n\n\ndef work():\n    return os\n", "utf-8")
    reference = {"type": "reference", "uri": file.as_uri(), "startLine": 4, "endLine": 5}
    context.chat.ask([{"type": "text", "text": "/fast /tokens 2"}, reference])
    shown = run_command("/sources", context)
    assert isinstance(shown, Show)
    assert f"{file}:4-5" in shown.text
    assert "def work():" in shown.text
    file.write_text("# new\n" + file.read_text("utf-8"), "utf-8")
    assert run_command("/sources 1", context) == OpenFile(file, 5)
    with pytest.raises(CommandError, match="no source 2"):
        run_command("/sources 2", context)
    context.chat.ask("/fast /tokens 2")
    assert run_command("/sources", context) == Show("The last answer has no sources.")
