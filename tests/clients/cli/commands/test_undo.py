"""`parley checkpoints` and `undo`, and the methods of the Python client that they use."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from anyio import to_thread

from parley_clients import Client, ToolNotFoundError, connect
from tests.support.checkpoints import Scratch, write
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_parley


class Undo:
    """The command, on a chat in which two turns have changed files."""

    def __init__(self, daemon: DaemonProcess, client: Client, scratch: Scratch) -> None:
        self.daemon = daemon
        self.client = client
        self.scratch = scratch

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Run it; return the exit code, what it printed, and its complaint."""
        done = await to_thread.run_sync(lambda: run_parley(self.daemon.env, *words))
        return done.returncode, done.stdout, done.stderr

    def text(self, name: str) -> str:
        """Return the text of a file."""
        return (self.scratch.root / name).read_text()


@pytest.fixture
async def undo(shared_daemon: DaemonProcess, tmp_path: Path) -> AsyncGenerator[Undo]:
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat(title="Undo")
        scratch = Scratch(tmp_path, data=shared_daemon.data_dir / "checkpoints", chat=chat.id)
        write(scratch.root / "a.txt", "one\n")
        write(scratch.root / "b.txt", "one\n")
        async with scratch.call("turn-1") as recorder:
            for name in ("a.txt", "b.txt"):
                await recorder.before_change(scratch.path(name))
                write(scratch.root / name, "two\n")
        await scratch.write("a.txt", "three\n", "turn-2")
        yield Undo(shared_daemon, client, scratch)


async def test_undo_goes_back_turn_by_turn_and_can_be_taken_back(undo: Undo) -> None:
    code, said, _ = await undo.run("checkpoints", undo.scratch.chat)
    assert code == 0
    assert [line.split("\t")[0] for line in said.splitlines()] == ["1", "", "2", "", ""]
    assert "changed since" in said.splitlines()[3]

    code, said, _ = await undo.run("undo", undo.scratch.chat, "--dry-run")
    assert (code, said) == (0, f"would restore\t{undo.scratch.path('a.txt')}\n")
    assert undo.text("a.txt") == "three\n"
    assert (await undo.run("undo", undo.scratch.chat))[0] == 0
    assert (undo.text("a.txt"), undo.text("b.txt")) == ("two\n", "two\n")
    assert (await undo.run("undo", undo.scratch.chat))[0] == 0
    assert (undo.text("a.txt"), undo.text("b.txt")) == ("one\n", "one\n")
    code, _, complaint = await undo.run("undo", undo.scratch.chat)
    assert (code, "taken back already" in complaint) == (1, True)

    code, said, _ = await undo.run("undo", undo.scratch.chat, "1", "--json")
    assert [file["changeType"] for file in json.loads(said)["restored"]] == ["modified", "modified"]
    assert (undo.text("a.txt"), undo.text("b.txt")) == ("two\n", "two\n")


async def test_single_files_are_named_and_what_changed_since_needs_force(undo: Undo) -> None:
    write(undo.scratch.root / "b.txt", "mine\n")
    code, said, _ = await undo.run("undo", undo.scratch.chat, "2", "-f", undo.scratch.path("b.txt"))
    assert (code, said.split("\t")[0]) == (1, "left alone")
    code, _, complaint = await undo.run("undo", undo.scratch.chat, "2", "--force")
    assert (code, "Name the files with -f" in complaint) == (2, True)
    code, _, _ = await undo.run("undo", undo.scratch.chat, "2", "--force", "-f", undo.scratch.path("b.txt"))
    assert (code, undo.text("b.txt"), undo.text("a.txt")) == (0, "one\n", "three\n")


async def test_the_client_lists_and_restores(undo: Undo) -> None:
    chat = undo.client.chat(undo.scratch.chat)
    newest, oldest = await chat.checkpoints()
    assert (newest.turn_id, newest.can_be_undone, len(oldest.files)) == ("turn-2", True, 2)
    planned = await chat.restore(newest.id, dry_run=True)
    assert (len(planned.restored), planned.conflicts, planned.checkpoint_id) == (1, [], None)
    done = await chat.restore(newest.id)
    assert done.checkpoint_id is not None
    assert done.model.restored[0].change_type == "modified"
    with pytest.raises(ToolNotFoundError):
        await chat.restore("none")
