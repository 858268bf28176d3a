"""The command `parley`, as a person and as a script use it."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest

from parley_clients.cli.display.plain import PlainOutput
from parley_clients.events import Event
from parley_clients.results import Json
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.parley_command import run_parley

PARLEY = str(Path(sys.executable).with_name("parley"))


def run(daemon: DaemonProcess, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command without a terminal."""
    return run_parley(daemon.env, *words, stdin=stdin)


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
    done = subprocess.run(
        [PARLEY, "ask", "/fast /tokens 4"],
        env=shared_daemon.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, b"1 2 3 4")


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
    done = run_parley(places, "--socket", "/nowhere.sock", "list")
    assert done.returncode == 1
    assert "/nowhere.sock" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agent_in_a_folder_that_was_deleted_is_a_sentence(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'rmdir "{gone}"; exec "{PARLEY}" ask --agent hello'
    done = subprocess.run(
        ["sh", "-c", command], cwd=gone, env=shared_daemon.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "parley: The present folder does not exist any more. Go to another one.\n"


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


@pytest.mark.parametrize(
    ("words", "to"),
    [
        (["ask", "/fast /tokens 3"], "/dev/full"),
        (["list", "--limit", "1000"], "/dev/full"),
        (["models", "--json"], "/dev/full"),
        (["--help"], "/dev/full"),
        (["list"], "closed"),  # noticed before the words are read
    ],
)
def test_output_that_goes_nowhere_is_one_sentence(
    shared_daemon: DaemonProcess, words: list[str], to: str
) -> None:
    where = ">&-" if to == "closed" else f"> {to}"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {where}', "sh", PARLEY, *words],
        env=shared_daemon.env,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=40,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("parley: ")


def test_closed_standard_input_and_error_are_no_fault(shared_daemon: DaemonProcess) -> None:
    for closed in ("<&-", "2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$@" {closed}', "sh", PARLEY, "ask", "/fast /tokens 3"],
            env=shared_daemon.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "1 2 3 \n", "")


@pytest.mark.parametrize("words", [["ask"], ["ask", "-"], ["chat"]])
def test_input_that_is_no_text_is_named(shared_daemon: DaemonProcess, words: list[str]) -> None:
    done = subprocess.run(
        [PARLEY, *words], env=shared_daemon.env, input=b"a\xff\n", capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode() == "parley: Standard input is not UTF-8.\n"


def test_a_question_that_is_no_text_is_named(shared_daemon: DaemonProcess) -> None:
    done = subprocess.run(
        [PARLEY, "ask", b"a\xff"], env=shared_daemon.env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "parley: The question is not UTF-8.\n")


def test_going_on_with_a_chat_takes_the_model_and_refuses_the_system_prompt(
    shared_daemon: DaemonProcess,
) -> None:
    run(shared_daemon, "ask", "/fast /tokens 2")
    chat = json.loads(run(shared_daemon, "list", "--json", "--limit", "1").stdout.splitlines()[0])["id"]
    for which in ([chat], ["--last"]):
        refused = run(shared_daemon, "chat", *which, "--system", "Be brief.", stdin="")
        assert refused.returncode == 2
        assert "--system" in refused.stderr
        unknown = run(shared_daemon, "chat", *which, "--model", "nope:x", stdin="")
        assert unknown.returncode == 1
        assert "nope" in unknown.stderr
        assert run(shared_daemon, "chat", *which, "--model", "demo:demo", stdin="").returncode == 0


def started(daemon: DaemonProcess, *words: str) -> subprocess.Popen[str]:
    """Start the command without a terminal."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [PARLEY, *words], env=daemon.env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    )


@pytest.mark.slow
async def test_an_orderly_stop_in_mid_answer_is_said_with_where_the_partial_is() -> None:
    async with running_daemon() as daemon:
        asking = started(daemon, "ask", "/stall")
        assert asking.stdout is not None
        assert await anyio.to_thread.run_sync(asking.stdout.read, 4) == "This"
        chat = json.loads(run(daemon, "list", "--json").stdout)["id"]
        assert await daemon.stop() == 0
        _, said = await anyio.to_thread.run_sync(asking.communicate)
        assert asking.returncode == 1
        assert "daemon was stopped" in said
        assert chat[-8:] in said


@pytest.mark.slow
async def test_what_a_killed_daemon_left_of_an_answer_is_told_to_who_watches_and_to_who_asked() -> None:
    async with running_daemon(config="[titles]\nenabled = false\n") as daemon:
        here = ("--socket", daemon.socket)  # who names a daemon starts none
        asking = started(daemon, *here, "ask", "/stall")
        assert asking.stdout is not None
        assert await anyio.to_thread.run_sync(asking.stdout.read, 4) == "This"
        chat = json.loads(run(daemon, "list", "--json").stdout)["id"]
        watching = started(daemon, *here, "attach", chat)
        assert watching.stdout is not None
        assert watching.stderr is not None
        assert await anyio.to_thread.run_sync(watching.stdout.readline) == "> /stall\n"
        assert await anyio.to_thread.run_sync(watching.stdout.read, 4) == "This"
        await daemon.kill()
        _, said = await anyio.to_thread.run_sync(asking.communicate)
        assert asking.returncode == 1
        assert said.startswith("parley: The connection to the daemon")
        assert f"parley ask --chat {chat[-8:]}" in said
        await daemon.start()
        told = await anyio.to_thread.run_sync(watching.stderr.readline)
        assert "The daemon was stopped during the answer." in told
        assert f"parley show {chat[-8:]}" in told
        assert run(daemon, "ask", "--chat", chat[-8:], "/fast /tokens 2").stdout == "1 2 \n"
        rest: list[str] = []
        while rest[-1:] != ["1 2 \n"]:
            rest.append(await anyio.to_thread.run_sync(watching.stdout.readline))
        # "This" was read before. What was shown is not shown again.
        assert "This" not in "".join(rest)
        watching.send_signal(signal.SIGINT)
        assert await anyio.to_thread.run_sync(watching.communicate) == ("", "")
        assert watching.returncode == 0


def test_in_a_file_an_answer_that_a_snapshot_brings_again_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {"id": 1, "role": "user", "content": [{"type": "text", "text": "Well?"}]}
    answer = {"id": 2, "role": "assistant", "content": [{"type": "text", "text": "It is so."}]}
    piece = {"messageId": 2, "index": 0, "part": {"type": "text", "text": "It is"}}
    error = {"kind": "daemon_lost", "message": "Gone.", "detail": None}
    end = {"chatId": "0-12345678", "outcome": "interrupted", "error": error, "usage": None}
    events: list[Json] = [
        {"type": "message", "message": question},
        {"type": "message_part", **piece},
        {"type": "reset"},
        {"type": "message", "message": answer},
        {"type": "turn_ended", **end, "timings": {"totalMs": None}},
    ]
    with (tmp_path / "shown").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        output = PlainOutput(whole_chat=True)
        for event in events:
            output.show([Event(event)])
        output.end(None)
    assert (tmp_path / "shown").read_text() == "> Well?\nIt is so.\n"
    assert "parley show 12345678" in capsys.readouterr().err


BROKEN_PROVIDERS = {
    "type": ('[providers.x]\ntype = "nope"\n', "nope"),
    "base_url": ('[providers.x]\ntype = "openai-compat"\n', "base_url"),
}


@pytest.mark.parametrize(("config", "why"), BROKEN_PROVIDERS.values(), ids=list(BROKEN_PROVIDERS))
async def test_a_provider_that_is_configured_wrongly_is_named_and_not_replaced_by_the_demo(
    config: str, why: str
) -> None:
    async with running_daemon(config=config) as daemon:
        (line,) = [one for one in run(daemon, "models").stdout.splitlines() if one.startswith("x:")]
        assert why in line
        assert "disabled" not in line
        asked = run(daemon, "ask", "/fast hello")
        assert asked.returncode == 1
        assert asked.stdout == ""
        assert why in asked.stderr
        assert run(daemon, "ask", "--model", "demo:demo", "/fast /tokens 2").stdout == "1 2 \n"
