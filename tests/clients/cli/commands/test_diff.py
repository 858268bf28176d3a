"""`parley diff`, the size of changes in `parley list`, and the methods of the Python client behind them."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from anyio import run_process, to_thread

from parley_clients import Chat, InvalidParamsError, MessageNotFoundError, connect
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_parley

WRITE = '/fast /tool write_file {"path": "café.txt", "content": "one\\r\\ntwo\\n"}'


@pytest.fixture
async def chat(shared_daemon: DaemonProcess, tmp_path: Path) -> AsyncGenerator[Chat]:
    """A chat whose model has written a file, and a second one in its next turn."""
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat(agent="edits", context={"repositories": [tmp_path.as_uri()]})
        await chat.ask(WRITE)
        await chat.ask('/fast /tool write_file {"path": "b.txt", "content": "b\\n"}')
        yield chat
        await chat.delete()


async def test_the_client_lists_measures_and_shows_changes(chat: Chat, tmp_path: Path) -> None:
    changes = await chat.changes()
    assert [(one.path, one.change_type, one.summary) for one in changes] == [
        ((tmp_path / "b.txt").as_uri(), "added", "+1 -0"),
        ((tmp_path / "café.txt").as_uri(), "added", "+2 -0"),
    ]
    status = await chat.diff_status()
    assert (status.summary, status.changed_files, status.pull_request) == ("+3 -0", 2, None)
    second = [message["id"] for message in (await chat.get()).messages if message["role"] == "user"][1]
    later = await chat.diff(second)
    assert "b.txt" in later.text
    assert "one" not in later.text
    assert not later.is_truncated
    only = await chat.diff(paths=[(tmp_path / "café.txt").as_uri()])
    assert "+one\r\n+two\n" in only.text
    assert "b.txt" not in only.text
    with pytest.raises(MessageNotFoundError):
        await chat.diff(1000)
    with pytest.raises(InvalidParamsError):
        await chat.diff(paths=["file:///etc/hostname"])


async def test_the_diff_in_a_pipe_makes_the_same_files_elsewhere(
    shared_daemon: DaemonProcess, chat: Chat, tmp_path: Path
) -> None:
    done = await to_thread.run_sync(lambda: run_parley(shared_daemon.env, "diff", chat.id))
    assert (done.returncode, done.stderr) == (0, "")
    await chat.diff_status()
    listed = await to_thread.run_sync(lambda: run_parley(shared_daemon.env, "list"))
    assert [line.split("\t")[-1] for line in listed.stdout.splitlines() if chat.id[-8:] in line] == ["+3 -0"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    diff = (await chat.diff()).text  # as bytes; the output above was read as text
    command = ["git", "apply", "--unsafe-paths", "--directory", str(elsewhere), "-"]
    await run_process(command, input=diff.encode(), cwd=elsewhere)
    assert (elsewhere / "café.txt").read_bytes() == b"one\r\ntwo\n"
    assert (elsewhere / "b.txt").read_bytes() == b"b\n"
    assert done.stdout.replace("\r\n", "\n") == diff.replace("\r\n", "\n")
