"""Completion in bash, zsh and fish: the scripts in the real shells, and what `parley` answers to them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from parley_clients import sync
from parley_clients.cli.arguments import make_parser
from parley_clients.cli.commands.completion import complete
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_parley
from tests.support.processes.terminal import PARLEY, Terminal


@pytest.fixture
def chat(shared_daemon: DaemonProcess) -> Generator[sync.Chat]:
    """A chat to be named."""
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(title="Tab: key")
        yield chat
        chat.delete()


def in_shell(daemon_env: dict[str, str]) -> dict[str, str]:
    """Return the environment of a shell that finds the command."""
    return {**daemon_env, "PATH": f"{Path(PARLEY).parent}{os.pathsep}{os.environ['PATH']}", "PS1": "$ "}


def asked(env: dict[str, str], *words: str) -> list[str]:
    """Return the lines that the scripts get for the words of a line."""
    done = run_parley(env, "__complete", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def completed(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Completes words in this process, where no daemon runs: a process for each would take seconds."""
    for name, value in places.items():
        monkeypatch.setenv(name, value)

    def lines(*words: str) -> list[str]:
        assert complete(make_parser(), words) == 0
        return capsys.readouterr().out.splitlines()

    return lines


def first(lines: list[str]) -> list[str]:
    """Return the words without what they mean."""
    return [line.partition("\t")[0] for line in lines]


def test_commands_and_options_are_named_with_what_they_mean(completed: Callable[..., list[str]]) -> None:
    assert completed("re") == [
        "retry\tGet another answer to a question.",
        "rewind\tEnd a chat at a message; later messages stay on a branch.",
    ]
    assert first(completed("--data-dir", "/x", "unarch")) == ["unarchive"]
    assert first(completed("ask", "--l")) == ["--last"]
    assert {"--json", "--plain", "--limit"} <= set(first(completed("list", "-")))
    assert first(completed("export", "--format", "")) == ["md", "json"]
    assert first(completed("queue", "someid", "p")) == ["promote"]
    assert first(completed("completion", "")) == ["bash", "zsh", "fish"]
    assert completed("import", "") == completed("export", "-o", "") == [":files"]
    assert completed("--data-dir", "") == completed("list", "--data-dir", "=", "x") == [":directories"]
    for words in (
        ["ask", "wh"],
        ["nonsense", "x"],
        ["queue", "id", "rm", "1", ""],
        ["ask", "--", "--l"],
        [""][:0],
    ):
        assert set(first(completed(*words))) <= set(first(completed("")))


def test_every_command_can_be_completed(completed: Callable[..., list[str]]) -> None:
    for command in first(completed("")):
        assert "--help" in first(completed(command, "--")), command


def test_chats_are_named_by_both_forms_of_their_ids(shared_daemon: DaemonProcess, chat: sync.Chat) -> None:
    env, short = shared_daemon.env, chat.id[-8:]
    for words in (["show"], ["ask", "--chat"], ["delete", "other"], ["edit", "--model", "m:x"]):
        assert f"{short}\tTab: key" in asked(env, *words, "")
    assert asked(env, "show", chat.id) == [f"{chat.id}\tTab: key"]
    assert asked(env, "show", short[:-1]) == [f"{short}\tTab: key"]
    assert short not in first(asked(env, "show", short, ""))
    assert short not in first(asked(env, "unarchive", ""))
    chat.archive()
    assert short in first(asked(env, "unarchive", ""))
    assert short not in first(asked(env, "archive", ""))
    socket = {name: value for name, value in env.items() if not name.startswith("PARLEY")}
    assert short in first(asked(socket, "--socket", shared_daemon.socket, "show", ""))


def test_models_are_named_by_every_command_that_takes_one(shared_daemon: DaemonProcess) -> None:
    env = shared_daemon.env
    for words in (["ask"], ["chat"], ["edit", "id"], ["retry", "id"], ["ask", "--json", "-f", "x"]):
        (line,) = asked(env, *words, "--model", "demo:")
        assert line.startswith("demo:demo\t")
    assert first(asked(env, "ask", "--model=dem")) == ["--model=demo:demo"]
    assert first(asked(env, "model", "set", "")) == ["demo:demo"]
    assert asked(env, "ask", "--model", "nobody:") == []


def test_settings_are_named_with_what_they_are(completed: Callable[..., list[str]]) -> None:
    assert completed("ask", "-o", "temper")[0].startswith("temperature=\ta number from 0 to 2")
    assert first(completed("retry", "-o", "timeouts.t")) == ["timeouts.totalMs="]
    assert first(completed("chat", "-o", "localOnly=")) == ["localOnly=true", "localOnly=false"]
    assert completed("ask", "-o", "nonsense=") == completed("ask", "-o", "openai.metadata.a=") == []
    assert completed("ask", "-f", "") == completed("ask", "--schema", "x") == [":files"]


def test_no_daemon_is_started_and_a_stuck_one_is_not_waited_for(
    places: dict[str, str], tmp_path: Path
) -> None:
    import socket
    import time

    assert asked(places, "show", "") == []
    assert not Path(places["PARLEY_RUNTIME_DIR"]).exists()
    path = tmp_path / "stuck"
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen()
        begun = time.monotonic()
        assert asked(places, "--socket", str(path), "show", "") == []
        assert time.monotonic() - begun < 10  # reaching a daemon may take 20 s elsewhere


@pytest.mark.slow
def test_tab_in_bash(shared_daemon: DaemonProcess, chat: sync.Chat, tmp_path: Path) -> None:
    (tmp_path / "my chat.json").touch()
    bash = shutil.which("bash")
    assert bash is not None
    env = in_shell(shared_daemon.env)
    terminal = Terminal(env, "--norc", "--noprofile", "-i", program=bash)
    terminal.wait_for("$ ")
    terminal.type(f'cd {tmp_path}; eval "$(parley completion bash)"; echo read""y:\n')
    terminal.wait_for("ready:")
    for typed, shown in (
        ("parley arch\t", "parley archive "),
        (f"parley show {chat.id[-8:-2]}\t", f"parley show {chat.id[-8:]} "),
        ("parley export --fo\t", "parley export --format "),
        ("parley import my\t", "parley import my\\ chat.json "),
        ("parley ask --model dem\t", "parley ask --model demo:demo "),
        ("parley ask --model demo:d\t", "parley ask --model demo:demo "),
        ("parley ask --model=demo:\t", "parley ask --model=demo:demo "),
        ("parley ask -o temper\t0.5 -o timeouts.to\t", "-o temperature=0.5 -o timeouts.totalMs="),
        ("parley ask -o localOnly=t\t", "parley ask -o localOnly=true "),
    ):
        terminal.type(typed)
        terminal.wait_for(shown)
        terminal.type("\x15")
    terminal.type("exit\n")
    terminal.end()


def test_tab_in_zsh(shared_daemon: DaemonProcess, chat: sync.Chat) -> None:
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("zsh is not installed")
    terminal = Terminal(in_shell(shared_daemon.env), "-f", "-i", program=zsh)
    terminal.wait_for("$ ")
    # It draws only what changes; a key of our own shows the line as a whole.
    terminal.type("show-line() { print \"[$BUFFER]\" }; zle -N show-line; bindkey '^X' show-line\n")
    terminal.type('autoload -Uz compinit; compinit -u -D; eval "$(parley completion zsh)"; echo read""y:\n')
    terminal.wait_for("ready:")
    for typed, shown in (
        ("parley arch\t", "[parley archive ]"),
        (f"parley show {chat.id[-8:-2]}\t", f"[parley show {chat.id[-8:]} ]"),
        ("parley ask --model demo:d\t", "[parley ask --model demo:demo ]"),
        ("parley ask --model=dem\t", "[parley ask --model=demo:demo ]"),
        ("parley ask -o temper\t", "[parley ask -o temperature=]"),
    ):
        terminal.type(f"{typed}\x18")
        terminal.wait_for(shown)
        terminal.type("\x15")
    terminal.type("exit\n")
    terminal.end()


def test_completion_in_fish(shared_daemon: DaemonProcess, chat: sync.Chat) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    for line, word in (
        ("parley arch", "archive\tArchive chats"),
        ("parley show ", f"{chat.id[-8:]}\tTab: key"),
        ("parley ask --model dem", "demo:demo\t"),
        ("parley ask --model=demo:", "--model=demo:demo\t"),
        ("parley ask -o temper", "temperature=\t"),
    ):
        script = f"parley completion fish | source; complete -C '{line}'"
        env = in_shell(shared_daemon.env)
        done = subprocess.run(
            [fish, "--no-config", "-c", script], env=env, capture_output=True, text=True, check=False
        )
        assert word in done.stdout
        assert done.stderr == ""


def test_the_names_of_mcp_servers_are_completed_where_one_is_meant(shared_daemon: DaemonProcess) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        client.mcp.add("completed-one", "/no/such/program")
        try:
            assert first(asked(shared_daemon.env, "mcp", "restart", "compl")) == ["completed-one"]
            assert asked(shared_daemon.env, "mcp", "add", "compl") == []
            assert asked(shared_daemon.env, "mcp", "restart", "completed-one", "compl") == []
        finally:
            client.mcp.remove("completed-one")
