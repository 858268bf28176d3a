"""`parley chat` on a terminal: keys, pastes, commands, and turns that go on meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parley_clients import sync
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.terminal import PARLEY, Terminal
from tests.support.processes.tmux import tmux_server

pytestmark = pytest.mark.slow

READY = "Ctrl-D quits"


@pytest.fixture
def client(shared_daemon: DaemonProcess) -> Generator[sync.Client]:
    """A client beside the terminal."""
    with sync.connect(f"unix:{shared_daemon.socket}", client_name="beside") as client:
        yield client


@contextmanager
def conversation(
    daemon: DaemonProcess, chat: sync.Chat, *, size: tuple[int, int] = (100, 30), **env: str
) -> Generator[Terminal]:
    """A terminal in the chat; it is left in order."""
    terminal = Terminal({**daemon.env, **env}, "chat", chat.id, size=size)
    terminal.wait_for(READY)
    yield terminal
    terminal.type("\x03\x03\x03\x04")
    assert terminal.end() == 0


def texts(chat: sync.Chat) -> list[str]:
    """Return the questions of the chat."""
    return [m["content"][0]["text"] for m in chat.get().messages if m["role"] == "user"]


def wait_for_questions(chat: sync.Chat, count: int) -> list[str]:
    """Return the questions once there are so many."""
    deadline = time.monotonic() + 30
    while len(found := texts(chat)) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_a_paste_is_one_message_whatever_its_lines_are(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    chat = client.create_chat()
    with conversation(shared_daemon, chat) as terminal:
        terminal.paste("/fast first\r\n/quit\n\tlast \\\n")
        terminal.type("\r")
        assert wait_for_questions(chat, 1) == ["/fast first\n/quit\n\tlast \\"]
        # Enter as a line feed is Enter; Alt-Enter, Shift-Enter and a backslash begin a line.
        terminal.type("/fast a\x1b\rb\x1b[13;2uc\\\rd\n")
        assert wait_for_questions(chat, 2)[1] == "/fast a\nb\nc\nd"


def test_a_mistyped_command_is_caught_and_can_be_corrected(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    chat = client.create_chat()
    with conversation(shared_daemon, chat) as terminal:
        terminal.type("/uasge\r")
        terminal.wait_for_screen("There is no command /uasge. Did you mean /usage?")
        terminal.type("\x15/USAGE\r")
        terminal.wait_for_screen("No usage is known of this chat yet.")
        terminal.type("/title A name\r")
        terminal.wait_for_screen("A name")
        terminal.type("/etc/hosts is a file\r")
        terminal.type(" /unknown as text\r")
        assert wait_for_questions(chat, 2) == ["/etc/hosts is a file", "/unknown as text"]


def test_the_next_message_is_typed_and_queued_while_an_answer_streams(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    chat = client.create_chat()
    with conversation(shared_daemon, chat) as terminal:
        terminal.type("/stall\r")
        terminal.wait_for_screen("nothing more will come")
        terminal.type("/fast second\r")
        terminal.wait_for_screen("queued 1: /fast second")
        terminal.type("/queue edit 1 /fast another\r")
        terminal.wait_for_screen("queued 1: /fast another")
        terminal.type("kept while")
        terminal.type("\x03")
        terminal.wait_for_screen("interrupted, the partial answer is kept")
        terminal.wait_for_screen("question number 2")
        terminal.type(" it stops\r")
        assert wait_for_questions(chat, 3)[1:] == ["/fast another", "kept while it stops"]


def test_turns_and_branches_of_other_clients_appear_live(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    chat = client.create_chat()
    chat.ask("/fast before")
    with conversation(shared_daemon, chat) as terminal:
        terminal.wait_for_screen("/fast before")
        chat.ask("/fast /tokens 3")
        terminal.wait_for_screen("from beside")
        terminal.wait_for_screen("1 2 3")
        chat.edit(3, "/fast /tokens 5")
        terminal.wait_for_screen("1 2 3 4 5")
        chat.select_branch(3)
        terminal.type("/edit\r")
        terminal.wait_for_screen("editing message 3")
        terminal.type("\x7f4\r")
        terminal.wait_for_screen("1 2 3 4\n")
        assert texts(chat)[-1] == "/fast /tokens 4"
        terminal.type("/retry\r")
        terminal.wait_for_screen("after message 7")
        client.chat(chat.id).delete()
        terminal.wait_for_screen("This chat was deleted.")
        terminal.type("/new\r")
        terminal.wait_for_screen("new chat")
        terminal.type("/fast /tokens 6\r")
        terminal.wait_for_screen("1 2 3 4 5 6")


def test_the_end_of_a_conversation_names_its_chat_unless_it_was_deleted(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    for is_deleted in (False, True):
        chat = client.create_chat()
        chat.ask("/fast /tokens 2")
        with conversation(shared_daemon, chat) as terminal:
            terminal.wait_for_screen("1 2")
            if is_deleted:
                chat.delete()
                terminal.wait_for_screen("This chat was deleted.")
        assert ("goes on here" in terminal.shown) != is_deleted


def test_tab_completes_commands_and_what_belongs_to_them(
    shared_daemon: DaemonProcess, client: sync.Client, tmp_path: Path
) -> None:
    (tmp_path / "with space.txt").write_text("content")
    chat = client.create_chat()
    with conversation(shared_daemon, chat) as terminal:
        terminal.type("/mod\t")
        terminal.wait_for_screen("show or set what the model may do unasked")
        terminal.type("l\t")
        terminal.wait_for_screen("Demo")
        terminal.type("\t")
        terminal.wait_for_screen("demo:demo")
        terminal.type(f"\x15/attach {tmp_path}/wi\t")
        terminal.wait_for_screen("with space.txt")
        terminal.type("\r")
        terminal.wait_for_screen("attached: with space.txt")
        terminal.type("/fast read it\r")
        wait_for_questions(chat, 1)
    (question, *_) = chat.get().messages
    assert question["content"][1]["title"] == "with space.txt"


def test_what_was_typed_is_there_in_the_next_run_and_can_be_edited_elsewhere(
    shared_daemon: DaemonProcess, client: sync.Client, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf " edited" >> "$1"\n')
    editor.chmod(0o700)
    chat = client.create_chat()
    with conversation(shared_daemon, chat) as terminal:
        terminal.paste("/fast one\ntwo")
        terminal.type("\r")
        wait_for_questions(chat, 1)
    with conversation(shared_daemon, chat, EDITOR=str(editor)) as terminal:
        terminal.type("\x1b[A\x18\x05")
        terminal.wait_for_screen("edited")
        terminal.type("\r")
        assert wait_for_questions(chat, 2)[1] == "/fast one\ntwo edited"
    history = Path(shared_daemon.env["PARLEY_DATA_DIR"]) / "chat_history"
    assert history.stat().st_mode & 0o777 == 0o600
    with conversation(shared_daemon, chat, EDITOR="/nowhere/ed") as terminal:
        terminal.type("\x12edited")
        terminal.wait_for_screen("I-search backward: edited")
        terminal.type("\r\x03/usage\r")
        terminal.wait_for_screen("input +")
        assert "I-search" not in terminal.screen.text
        terminal.type("typed\x18\x05")
        terminal.wait_for_screen("Cannot edit with /nowhere/ed")


def test_what_is_typed_before_the_prompt_is_there_is_not_lost(shared_daemon: DaemonProcess) -> None:
    terminal = Terminal(shared_daemon.env, "chat")
    terminal.type("/fast /tokens 3\n")
    terminal.wait_for_screen("1 2 3")
    assert "There is no command" not in terminal.screen.text
    terminal.type("\x04")
    assert terminal.end() == 0


def test_leaving_lets_the_answer_go_on_and_keeps_no_empty_chat(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    before = client.list_chats().total
    terminal = Terminal(shared_daemon.env, "chat")
    terminal.wait_for(READY)
    terminal.type("\x04")
    assert terminal.end() == 0
    assert client.list_chats().total == before
    chat = client.create_chat()
    terminal = Terminal(shared_daemon.env, "chat", chat.id)
    terminal.wait_for(READY)
    terminal.type("/stall\r")
    terminal.wait_for_screen("nothing more will come")
    terminal.type("\x04")
    terminal.wait_for_screen(f"The answer continues. parley chat {chat.id[-8:]}")
    assert terminal.end() == 0
    assert chat.get().raw["chat"]["status"] == "running"
    terminal = Terminal(shared_daemon.env, "chat", chat.id)
    terminal.wait_for_screen("nothing more will come")
    terminal.type("\x03")
    terminal.wait_for_screen("interrupted")
    terminal.type("\x03")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_killed_restores_the_terminal(
    shared_daemon: DaemonProcess, number: signal.Signals
) -> None:
    script = f'"{PARLEY}" chat & echo "pid $!;"; fg >/dev/null; echo code $?; read a'
    terminal = Terminal(shared_daemon.env, "-m", "-c", script, program="/bin/bash")
    terminal.wait_for(READY)
    terminal.wait_for_screen("new chat")
    pid = int(terminal.shown.partition("pid ")[2].partition(";")[0])
    assert not terminal.echoes
    os.kill(pid, number)
    terminal.wait_for_screen(f"code {128 + number}")
    assert terminal.echoes
    assert terminal.shown.rstrip().endswith("\x1b[?2004l") or "\x1b[?2004l" in terminal.shown[-400:]
    terminal.type("\n")
    terminal.end()


async def test_after_the_daemon_was_killed_the_conversation_goes_on() -> None:
    async with running_daemon(config="[titles]\nenabled = false\n") as daemon:
        terminal = Terminal(daemon.env, "--socket", daemon.socket, "chat", size=(100, 30))
        terminal.wait_for(READY)
        terminal.type("/slow 30\r")
        terminal.wait_for_screen("second 2")
        await daemon.kill()
        terminal.wait_for_screen("reconnecting to the daemon")
        terminal.type("/fast /tokens 3\r")
        terminal.wait_for_screen("not sent yet: /fast /tokens 3")
        await daemon.start()
        terminal.wait_for_screen("The daemon was stopped during the answer.")
        terminal.wait_for_screen("1 2 3")
        terminal.type("\x04")
        assert terminal.end() == 0
        assert "from a failed attempt" not in terminal.shown
        with sync.connect(f"unix:{daemon.socket}") as client:
            (record,) = client.list_chats().chats
            assert texts(client.chat(record.id)) == ["/slow 30", "/fast /tokens 3"]


def test_only_the_conversation_loads_prompt_toolkit(shared_daemon: DaemonProcess) -> None:
    script = (
        "import sys; from parley_clients.cli.main import run; "
        "run(['ask', '/fast /tokens 1']); run(['chat']); print(int('prompt_toolkit' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=shared_daemon.env,
        input="/fast /tokens 2\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-2:] == ["1 2 ", "0"]


def test_a_resize_leaves_nothing_stale_and_code_can_be_copied(
    shared_daemon: DaemonProcess, client: sync.Client
) -> None:
    line = "command --with " + "a-long-argument " * 8 + "end"
    chat = client.create_chat(
        messages=[
            {"role": "user", "content": "Code, please."},
            {"role": "assistant", "content": f"- item\n\n  ```sh\n  {line}\n  ```\n"},
        ]
    )
    with tmux_server(shared_daemon.env) as tmux:
        command = f'seq 30; "{PARLEY}" chat {chat.id}; sleep 60'
        tmux.run("new-session", "-d", "-x", "80", "-y", "24", command)
        tmux.wait_for(f"demo:demo · {chat.id[-8:]}")
        # Joined are only lines that the terminal itself has wrapped.
        assert line in tmux.run("capture-pane", "-p", "-J", "-S", "-200").split("\n")
        tmux.run("send-keys", "/long 120", "Enter")
        tmux.wait_for("the same stream goes on")
        for columns in ("45", "70", "60"):
            tmux.run("resize-window", "-x", columns)
        tmux.wait_for("nothing is lost")
        screen = tmux.wait_for("tokens")
    said = " ".join(screen.partition("> /long 120")[2].split())
    assert said.count("A chat here is an object of its own") == 120 // 49 + 1
    assert said.count("> ") == 1
