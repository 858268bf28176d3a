"""The command `parley` in a terminal: what becomes of keys, sizes, failures and hostile text meanwhile."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from parley_clients.cli.messages import fallback_message
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.parley_command import run_parley
from tests.support.processes.raw_client import unix_peer
from tests.support.processes.terminal import PARLEY, Terminal
from tests.support.processes.tmux import tmux_server

TRY_TWICE = "[retries]\nattempts = 2\nfirst_ms = 1\n"
FALLS_BACK = """
default_model = "away:any"
fallback_models = ["demo:demo"]
retries.fallback_attempts = 1
[providers.away]
type = "openai-compat"
base_url = "http://127.0.0.1:1"
"""
HOSTILE = "a\x1b]0;owned\x07b\x1b[2Jc\x9b31md"


def run(daemon: DaemonProcess, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    return run_parley(daemon.env, *words)


def test_what_is_typed_during_an_answer_is_not_shown_and_the_terminal_is_as_before(
    shared_daemon: DaemonProcess,
) -> None:
    # A shell around it: the terminal of a process that has ended tells nothing any more.
    script = f'"{PARLEY}" ask /stall; echo code $?; read a'
    terminal = Terminal(shared_daemon.env, "-m", "-c", script, program="/bin/bash")
    terminal.wait_for("nothing more will come")
    assert not terminal.echoes
    terminal.type("typed ahead")
    terminal.type("\x03")
    terminal.wait_for("code 130")
    assert terminal.echoes
    assert "^C" not in terminal.shown
    assert terminal.shown.count("\x1b[?25l") == terminal.shown.count("\x1b[?25h") == 1
    terminal.type("\n")
    terminal.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_process_that_is_killed_restores_the_terminal(
    shared_daemon: DaemonProcess, number: signal.Signals
) -> None:
    script = f'"{PARLEY}" ask /stall & echo "pid $!;"; fg >/dev/null; echo code $?; read a'
    terminal = Terminal(shared_daemon.env, "-m", "-c", script, program="/bin/bash")
    terminal.wait_for("nothing more will come")
    pid = int(terminal.shown.partition("pid ")[2].partition(";")[0])
    assert not terminal.echoes
    os.kill(pid, number)
    terminal.wait_for(f"code {128 + number}")
    assert terminal.echoes
    assert "\x1b[?25h" in terminal.shown
    terminal.type("\n")
    terminal.end()


def test_what_is_typed_ahead_in_a_conversation_is_asked_next(shared_daemon: DaemonProcess) -> None:
    terminal = Terminal(shared_daemon.env, "chat")
    terminal.wait_for("Ctrl-D quits")
    terminal.type("/stall\n")
    terminal.wait_for("nothing more will come")
    terminal.type("/fast ahead\n")
    terminal.type("\x03")
    terminal.wait_for("interrupted")
    terminal.wait_for("question number 2")
    terminal.wait_for("tokens")
    terminal.type("/quit\n")
    assert terminal.end() == 0


@pytest.mark.slow
async def test_control_characters_of_titles_and_answers_do_not_reach_a_terminal_or_a_pipe(
    daemon: DaemonProcess,
) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        said = [
            {"role": "user", "content": HOSTILE},
            {"role": "assistant", "content": [{"type": "text", "text": f"{HOSTILE}\n\n{HOSTILE}"}]},
        ]
        chat = await peer.result("chat/create", {"title": HOSTILE, "messages": said})
    for words in (["list"], ["show", chat["id"]], ["ask", "--chat", chat["id"], f"/fast {HOSTILE}"]):
        terminal = Terminal(daemon.env, *words)
        assert terminal.end() == 0
        piped = run(daemon, *words)
        for shown in (terminal.shown, piped.stdout, piped.stderr):
            for sequence in ("\x1b]", "\x1b[2J", "\x07", "\x9b"):
                assert sequence not in shown
        assert "␛]0;owned␇b␛[2Jc" in piped.stdout
    attached = Terminal(daemon.env, "attach", chat["id"])
    attached.wait_for("␛]0;owned␇")
    attached.type("\x03")
    assert attached.end() == 0
    assert "\x1b]" not in attached.shown
    assert "\\u001b]0;owned" in run(daemon, "show", "--json", chat["id"]).stdout


@pytest.mark.slow
def test_a_call_that_is_tried_again_says_when_and_why_and_its_void_text_goes(
    shared_daemon: DaemonProcess,
) -> None:
    terminal = Terminal(shared_daemon.env, "ask", "/error rate_limit")
    terminal.wait_for("will fail")
    terminal.wait_for("retrying in 3 s: The demo fails on request: rate limit.")
    terminal.wait_for("retrying in 1 s")
    terminal.type("\x03")
    assert terminal.end() == 130


@pytest.mark.slow
async def test_when_another_model_answers_that_is_said_on_a_terminal_and_in_a_pipe() -> None:
    async with running_daemon(config=FALLS_BACK) as daemon:
        piped = run(daemon, "ask", "/fast /tokens 3")
        assert piped.stdout.strip() == "1 2 3"
        assert "Now calling demo:demo instead." in piped.stderr
        assert "Nothing answers at http://127.0.0.1:1." in piped.stderr
        terminal = Terminal(daemon.env, "ask", "/fast /tokens 3", size=(160, 40))
        assert terminal.end() == 0
        assert "Now calling demo:demo instead." in " ".join(terminal.shown.split())
        assert "demo:demo · " in terminal.shown
        assert "from a failed attempt" not in terminal.shown + piped.stderr


def test_a_wait_says_that_it_is_no_other_model_that_is_asked() -> None:
    error = {"message": "It is overloaded."}
    again = {"model": "a:b", "delayMs": 1000, "error": error}
    instead = {"model": "c:d", "delayMs": 0, "error": error}
    assert fallback_message(again, "a:b") is None
    assert fallback_message(again, None) is None
    assert fallback_message({**again, "model": None}, "a:b") is None
    assert fallback_message(instead, "a:b") == fallback_message(instead, None)
    assert fallback_message(instead, "a:b") == "It is overloaded. Now calling c:d instead."


@pytest.mark.slow
async def test_what_a_failed_attempt_said_is_void(tmp_path: Path) -> None:
    async with running_daemon(config=TRY_TWICE) as daemon:
        piped = run(daemon, "ask", "/fast /error overloaded")
        assert "from a failed attempt" in piped.stderr
        assert [line[:11] for line in piped.stdout.splitlines()] == ["This is the"] * 2
        file = tmp_path / "answer"
        run_into(file, daemon, "ask", "/fast /error overloaded")
        assert file.read_text().count("This is the") == 1
        terminal = Terminal(daemon.env, "ask", "/fast /error overloaded")
        assert terminal.end() == 1
        # Nothing of it had been printed for good, so that it could be taken away without a word.
        assert "from a failed attempt" not in terminal.shown


def run_into(file: Path, daemon: DaemonProcess, *words: str) -> None:
    """Run the command with standard output in a file."""
    with file.open("wb") as output:
        subprocess.run(
            [PARLEY, *words], env=daemon.env, stdout=output, stderr=subprocess.DEVNULL, check=False
        )


@pytest.mark.slow
def test_a_resize_during_an_answer_leaves_nothing_stale(shared_daemon: DaemonProcess) -> None:
    with tmux_server(shared_daemon.env) as tmux:
        # Above it a screen full of lines: what tmux pushes out at the top nobody can take back.
        command = f'seq 30; "{PARLEY}" ask "/long 120"; sleep 60'
        tmux.run("new-session", "-d", "-x", "80", "-y", "24", command)
        tmux.wait_for("the same stream goes on")
        tmux.run("resize-window", "-x", "45")
        tmux.wait_for("nothing is lost")
        tmux.run("resize-window", "-x", "70")
        screen = tmux.wait_for("tokens")
    _, _, answer = screen.partition("\n30\n")
    said = " ".join(answer.split())
    assert said.startswith("A chat here is an object")
    assert said.count("A chat here is an object of its own") == 120 // 49 + 1
