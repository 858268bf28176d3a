"""`parley chat --agent`: steps, questions and their answers at a terminal, and without one."""

import json
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parley_clients import sync
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.terminal import PARLEY, Terminal

pytestmark = pytest.mark.slow

READ = '/tool read_file {"path": "area.py"}'
EDIT = '/tool edit_file {"path": "area.py", "oldText": "a + b", "newText": "a * b"}'
READ_FIRST = READ.replace('"', '\\"')
NEXT = "\x1b\r/then\x1b\r"
"""What is typed between two messages of the demo model's script."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a file that a model works on."""
    (tmp_path / "area.py").write_text("def area(a, b):\n    return a + b\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def agent_chat(daemon: DaemonProcess, *options: str) -> Generator[Terminal]:
    """A terminal in a new agent chat; it is left in order."""
    terminal = Terminal(daemon.env, "chat", *(options or ("--agent",)), size=(80, 40))
    terminal.wait_for("Ctrl-D quits")
    yield terminal
    terminal.type("\x03\x03\x03\x04")
    assert terminal.end() == 0


def last_chat(client: sync.Client) -> sync.Chat:
    """Return the chat of the terminal."""
    return client.chat(client.list_chats(limit=1).chats[0].id)


def test_a_diff_is_shown_and_only_an_answer_lets_it_be_written_and_undone(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with agent_chat(shared_daemon) as terminal:
        terminal.type(f"/fast {READ}{NEXT}{EDIT}\r")
        terminal.wait_for_screen("+    return a * b")
        terminal.wait_for_screen("In the mode ask, you are asked before files are changed.")
        terminal.wait_for_screen("always allow edit_file in")
        terminal.wait_for_screen("y allows · n [REASON] denies")
        terminal.type("yes please\r")
        terminal.wait_for_screen("This is no answer")
        assert "a + b" in (folder / "area.py").read_text("utf-8")
        terminal.type("y\r")  # what was no answer is not in the way
        terminal.wait_for_screen("Edit area.py: allowed")
        terminal.wait_for_screen("✓ edit_file  area.py")
        terminal.wait_for_screen("area.py +1 -1")
        terminal.wait_for_screen("tokens ·")
        assert "a * b" in (folder / "area.py").read_text("utf-8")
        terminal.type("/undo 1\r")
        terminal.wait_for_screen("would restore  area.py")
        terminal.type("/undo 1 yes\r")
        terminal.wait_for_screen("restored  area.py")
        assert "a + b" in (folder / "area.py").read_text("utf-8")


def test_a_question_that_another_client_answers_disappears_and_the_draft_comes_back(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with (
        sync.connect(f"unix:{shared_daemon.socket}", client_name="beside") as beside,
        agent_chat(shared_daemon) as terminal,
    ):
        terminal.type(f'/fast {READ}{NEXT}{EDIT}{NEXT}/tool read_file {{"path": "/etc/hostname"}}\r')
        terminal.wait_for_screen("y allows")
        terminal.type("n half a rea")
        chat = last_chat(beside)
        (request,) = chat.get().raw["actionRequests"]
        chat.respond(request, "deny", reason="not now")
        terminal.wait_for_screen("Edit area.py: denied by beside")
        terminal.wait_for_screen("? Read /etc/hostname")
        terminal.type("n that is private\r")
        terminal.wait_for_screen("They say: that is private")
        assert "a + b" in (folder / "area.py").read_text("utf-8")


def test_a_rule_is_stored_as_it_was_shown_and_can_be_removed(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with agent_chat(shared_daemon, "--agent=ask") as terminal:
        terminal.type(f"/fast {READ}{NEXT}{EDIT}{NEXT}{READ}{NEXT}{EDIT}\r")
        terminal.wait_for_screen("a1  always allow edit_file in")
        terminal.type("a1\r")
        terminal.wait_for_screen("tokens ·")
        assert "a * b" in (folder / "area.py").read_text("utf-8")
        terminal.type("/permissions\r")
        terminal.wait_for_screen("— in this chat, from request:")
        terminal.type("/permissions deny run git push\r")
        terminal.wait_for_screen("deny run: git push … — in this chat")
        terminal.type("/permissions allow run rm $HOME\r")
        terminal.wait_for_screen("it has $ outside of")
        terminal.type("\x15/permissions why git push --force\r")
        terminal.wait_for_screen("git push --force: deny by")
        terminal.type("/mode plan\r")
        terminal.wait_for_screen("mode plan")


def test_questions_are_answered_and_a_turn_is_stopped_while_it_asks(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    asks = '/tool ask_user {"questions": [{"text": "Which?", "options": ["one", "two"]}, {"text": "Why?"}]}'
    with agent_chat(shared_daemon) as terminal:
        terminal.type(f"/fast {asks}\r")
        terminal.wait_for_screen("question 1 of 2")
        terminal.type("2\r")
        terminal.wait_for_screen("question 2 of 2")
        terminal.type("because\r")
        terminal.wait_for_screen("2 questions: Which?: answered")
        terminal.type(f"/fast {READ}{NEXT}{EDIT}\r")
        terminal.wait_for_screen("y allows")
        terminal.type("\x03")
        terminal.wait_for_screen("Edit area.py: not answered")
        terminal.wait_for_screen("interrupted, the partial answer is kept")
        assert "a + b" in (folder / "area.py").read_text("utf-8")


def test_what_nobody_can_be_asked_is_denied_and_listed_instead_of_waiting(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    script = f"/fast {READ}\n/then\n{EDIT}"
    done = subprocess.run(
        [PARLEY, "ask", "--agent", script], env=shared_daemon.env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "The model was not allowed to do this:\n  edit_file  area.py\n" in done.stderr
    piped = subprocess.run(
        [PARLEY, "chat", "--agent"],
        input=f"/fast {EDIT}\n",
        env=shared_daemon.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert piped.returncode == 0
    assert "edit_file" in piped.stdout
    assert "a + b" in (folder / "area.py").read_text("utf-8")


def test_in_the_mode_edits_what_is_written_is_shown_and_nothing_is_asked(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with agent_chat(shared_daemon, "--agent=edits") as terminal:
        terminal.type(f"/fast {READ}{NEXT}{EDIT}\r")
        terminal.wait_for_screen("✓ edit_file  area.py")
        terminal.wait_for_screen("  -a + b")
        terminal.wait_for_screen("  +a * b")
        terminal.wait_for_screen("tokens ·")


def test_a_folder_that_cannot_be_worked_in_is_named_at_the_start(
    shared_daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    with agent_chat(shared_daemon) as terminal:
        terminal.wait_for_screen("that is too much")


def test_a_plain_terminal_asks_in_lines(shared_daemon: DaemonProcess, folder: Path) -> None:
    terminal = Terminal(shared_daemon.env, "chat", "--agent", "--plain", size=(80, 40))
    terminal.wait_for("Ctrl-D quits")
    terminal.type('/fast /tool read_file {"path": "/etc/hostname"}\n')
    terminal.wait_for("Read /etc/hostname")
    terminal.wait_for("y allows")
    terminal.type("what\n")
    terminal.wait_for("This is no answer")
    terminal.type("n keep out\n")
    terminal.wait_for("They say: keep out")
    terminal.type("\x04")
    assert terminal.end() == 0


def lines_of(daemon: DaemonProcess, *typed: str) -> str:
    """Return what a conversation without a terminal prints for these lines."""
    done = subprocess.run(
        [PARLEY, "chat", "--agent"],
        input="\n".join([*typed, ""]),
        env=daemon.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    return done.stdout + done.stderr


def test_tools_and_modes_are_listed_and_only_what_was_shown_is_trusted(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    (folder / "AGENTS.md").write_text("- be\u202ebr\U000e0041ief\n", "utf-8")
    said = lines_of(
        shared_daemon, "/tools", "/mode", "/mode nope", "/trust yes", "/trust", "/trust yes", "/trust"
    )
    assert re.search(r"^edit_file +edit +ask$", said, re.MULTILINE)
    assert "unavailable: It is only for chats in the mode" in said
    assert "mode ask\n" in said
    assert "There is no mode nope. The modes: ask, plan, edits, auto, off." in said
    assert "/trust shows what would be trusted. Look at it first." in said
    assert "AGENTS.md:\n- be<U+202E>br<U+E0041>ief\n" in said
    assert "AGENTS.md is trusted.\nAGENTS.md is trusted. /trust no takes that back.\n" in said


def test_the_jobs_of_a_chat_are_listed_with_what_became_of_them(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    with agent_chat(shared_daemon) as terminal:
        terminal.type('/fast /tool run {"command": "echo up; sleep 1000", "background": true}\r')
        terminal.wait_for_screen("? Start echo up")
        terminal.wait_for_screen("y allows")
        terminal.type("y\r")
        terminal.wait_for_screen("tokens ·")
        terminal.type("/jobs\r")
        terminal.wait_for_screen("s  echo up; sleep 1000")
        with sync.connect(f"unix:{shared_daemon.socket}") as beside:
            newest = beside.list_chats(limit=1).raw["chats"][0]["id"]
            (job,) = beside.chat(newest).jobs()
            while not job.tail:  # the command has started, and may not have written yet
                (job,) = beside.chat(newest).jobs()
        assert (job.command, job.is_running, job.tail) == ("echo up; sleep 1000", True, "up\n")
        terminal.type(f"/jobs stop {job.id}\r")
        terminal.wait_for_screen(f"{job.id}  stopped, exit status")
        terminal.type(f"/jobs {job.id}\r")
        terminal.wait_for_screen("\n  up")
        terminal.type("/jobs none\r")
        terminal.wait_for_screen("There is no job none.")


def test_who_only_watches_is_told_where_to_answer(shared_daemon: DaemonProcess, folder: Path) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}", client_name="beside") as beside:
        chat = beside.create_chat(agent="ask", context={"repositories": [folder.as_uri()]})
        watching = Terminal(shared_daemon.env, "attach", chat.id, size=(80, 40))
        chat.send(f"/fast {READ}\n/then\n{EDIT}")
        watching.wait_for_screen("+    return a * b")
        watching.wait_for_screen(f"Answer it with parley chat {chat.id[-8:]}")
        (request,) = chat.get().raw["actionRequests"]
        chat.respond(request, "allow")
        watching.wait_for_screen("Edit area.py: allowed by beside")
        watching.wait_for_screen("✓ edit_file  area.py")
        watching.type("\x03")
        assert watching.end() == 0


def test_the_agents_of_a_chat_ask_in_it_and_are_listed(shared_daemon: DaemonProcess, folder: Path) -> None:
    task = EDIT.replace('"', '\\"')
    with agent_chat(shared_daemon) as terminal:
        terminal.type(f'/fast /tool spawn_agent {{"task": "/fast {READ_FIRST}\\n/then\\n{task}"}}\r')
        terminal.wait_for_screen("+    return a * b")
        terminal.wait_for_screen("in the main chat")
        terminal.type("y\r")
        terminal.wait_for_screen("✓ spawn_agent")
        terminal.type("/agents\r")
        terminal.wait_for_screen("completed")
        terminal.wait_for_screen("/agents stop ID stops it.")
    assert "a * b" in (folder / "area.py").read_text("utf-8")


def test_an_agent_in_the_background_asks_when_no_turn_runs(
    shared_daemon: DaemonProcess, folder: Path
) -> None:
    task = EDIT.replace('"', '\\"')
    spawn = f'{{"task": "/fast {READ_FIRST}\\n/then\\n{task}", "background": true}}'
    with agent_chat(shared_daemon) as terminal:
        terminal.type(f"/fast /tool spawn_agent {spawn}\r")
        terminal.wait_for_screen("+    return a * b")
        terminal.type("y\r")
        terminal.wait_for_screen("Edit area.py: allowed")
        terminal.type("/agents\r")
        terminal.wait_for_screen("/agents stop ID stops it.")
        assert "waiting for the model" not in terminal.screen.text


def test_the_servers_of_a_project_are_trusted_and_listed(shared_daemon: DaemonProcess, folder: Path) -> None:
    servers = {"mcpServers": {"theirs": {"command": "/no/such/program"}}}
    (folder / ".mcp.json").write_text(json.dumps(servers), "utf-8")
    with agent_chat(shared_daemon) as terminal:
        terminal.type("/mcp\r")
        terminal.wait_for_screen("theirs  waits for trust, of a project  /no/such/program")
        terminal.type("/trust\r")
        terminal.wait_for_screen("theirs: /no/such/program")
        terminal.type("/trust yes\r")
        terminal.wait_for_screen(".mcp.json is trusted.")
        terminal.type("/mcp restart theirs\r")
        terminal.wait_for_screen("theirs  failed, of a project")
        terminal.type("/mcp auth theirs\r")
        terminal.wait_for_screen("theirs")
