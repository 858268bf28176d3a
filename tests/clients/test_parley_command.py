"""The command `parley`, as a person and as a script use it."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import DaemonProcess

PARLEY = str(Path(sys.executable).with_name("parley"))


def run(daemon: DaemonProcess, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    return subprocess.run(
        [PARLEY, *words], env=daemon.env, input=stdin, capture_output=True, text=True, check=False, timeout=40
    )


def in_terminal(daemon: DaemonProcess, *words: str, interrupt_at: str | None = None) -> tuple[int, str]:
    """Run the command in a terminal; press Ctrl-C when a text was shown. Return exit code and screen."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(PARLEY, [PARLEY, *words], {**daemon.env, "TERM": "xterm-256color", "COLUMNS": "90"})
    shown = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the terminal's other side is closed
            break
        if not data:
            break
        shown += data
        if interrupt_at is not None and interrupt_at.encode() in shown:
            os.write(terminal, b"\x03")
            interrupt_at = None
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), shown.decode("utf-8", "replace")


def test_without_a_terminal_only_the_answer_is_on_standard_output(shared_daemon: DaemonProcess) -> None:
    done = run(shared_daemon, "ask", "/fast /tokens 4")
    assert (done.returncode, done.stdout.strip()) == (0, "1 2 3 4")


def test_the_question_may_come_from_standard_input(shared_daemon: DaemonProcess) -> None:
    done = run(shared_daemon, "ask", stdin="/fast /tokens 3")
    assert (done.returncode, done.stdout.strip()) == (0, "1 2 3")


def test_json_is_one_event_a_line(shared_daemon: DaemonProcess) -> None:
    done = run(shared_daemon, "ask", "--json", "/fast /tokens 3")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [events[0]["type"], events[-1]["type"]] == ["message", "turn_ended"]
    text = [event["part"]["text"] for event in events if event["type"] == "message_part"]
    assert "".join(text).endswith("1 2 3 ")


def test_a_failed_turn_and_a_wrong_use_have_their_exit_codes(shared_daemon: DaemonProcess) -> None:
    failed = run(shared_daemon, "ask", "/fast /error auth")
    assert failed.returncode == 1
    assert failed.stderr.strip()
    assert "Traceback" not in failed.stderr
    assert run(shared_daemon, "ask", "--nonsense").returncode == 2
    assert run(shared_daemon, "ask", "   ").returncode == 2
    unknown = run(shared_daemon, "show", "nope")
    assert unknown.returncode == 1
    assert "nope" in unknown.stderr


async def test_a_chat_is_listed_shown_and_gone_on_with_by_a_part_of_its_id(daemon: DaemonProcess) -> None:
    run(daemon, "ask", "/fast /tokens 2")
    listed = run(daemon, "list").stdout.split()
    assert "/tokens" in listed
    run(daemon, "ask", "--chat", listed[0], "/fast /tokens 3")
    shown = run(daemon, "show", listed[0]).stdout
    assert "1 2 3" in shown
    chats = [json.loads(line) for line in run(daemon, "list", "--json").stdout.splitlines()]
    assert len(chats) == 1
    assert run(daemon, "delete", "--yes", listed[0]).returncode == 0
    assert run(daemon, "list").stdout == ""


def test_no_daemon_is_a_sentence(places: dict[str, str]) -> None:
    done = subprocess.run(
        [PARLEY, "--socket", "/nowhere.sock", "list"], env=places, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "/nowhere.sock" in done.stderr
    assert "Traceback" not in done.stderr


async def test_in_a_terminal_ctrl_c_interrupts_and_keeps_the_partial_answer(daemon: DaemonProcess) -> None:
    code, screen = in_terminal(daemon, "ask", "/stall", interrupt_at="nothing more will come")
    assert code == 128 + signal.SIGINT
    assert "interrupted" in screen
    assert "Traceback" not in screen
    assert "nothing more will come" in run(daemon, "show", *run(daemon, "list").stdout.split()[:1]).stdout


def test_in_a_terminal_the_answer_is_drawn_and_its_usage_told(shared_daemon: DaemonProcess) -> None:
    code, screen = in_terminal(shared_daemon, "ask", "/fast hello")
    assert code == 0
    assert "parleyd demo" in screen
    assert "**" not in screen
    assert "demo:demo" in screen
    assert "tokens" in screen


@pytest.mark.parametrize("words", [["models"], ["status"], ["--help"], ["--version"]])
def test_what_only_looks_succeeds(shared_daemon: DaemonProcess, words: list[str]) -> None:
    done = run(shared_daemon, *words)
    assert done.returncode == 0
    assert done.stdout.strip()
