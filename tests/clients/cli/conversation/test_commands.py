"""The commands of `parley chat`: what is one, what it does, and what becomes of a mistyped one."""

import re
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from parley_clients import sync
from parley_clients.cli.arguments import make_parser
from parley_clients.cli.conversation.commands import (
    COMMANDS,
    DEMO_COMMANDS,
    DEMO_MODEL,
    Context,
    Edit,
    Open,
    Outcome,
    Quit,
    Retry,
    Show,
    command_name,
    run_command,
)
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.errors import ParleyError
from tests.support.processes.daemon import DaemonProcess

Run = Callable[[str], Outcome]


@pytest.fixture
def context(shared_daemon: DaemonProcess) -> Generator[Context]:
    """A chat with one question and its answer."""
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(title="A chat for commands")
        chat.ask("/fast /tokens 2")
        yield Context(client, chat, make_parser().parse_args(["chat"]))


def shown(outcome: Outcome) -> str:
    """Return the text that is to be shown."""
    assert isinstance(outcome, Show)
    return outcome.text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/edit", "/edit"),
        ("/EDIT it\nplease", "/edit"),
        ("/nonsense", "/nonsense"),
        ("/etc/hosts", None),
        ("// a comment", None),
        ("/** a comment */", None),
        ("/stop!", "/stop!"),
        ("/", "/"),
        ("/ 2", None),
        (" /edit", None),
        ("edit", None),
        ("", None),
    ],
)
def test_a_command_is_a_word_after_a_slash(text: str, name: str | None) -> None:
    assert command_name(text, "local:llama") == name


def test_the_commands_of_the_demo_go_to_the_demo(context: Context) -> None:
    listed = set(re.findall(r"^(/\w+)", context.chat.ask("/fast /help").text, re.M))
    assert listed - {"/help"} == DEMO_COMMANDS
    assert DEMO_COMMANDS.isdisjoint(COMMANDS)
    assert command_name("/stall", DEMO_MODEL) is None
    assert command_name("/stal", DEMO_MODEL) == "/stal"
    assert command_name("/stall", "local:llama") == command_name("/stall", None) == "/stall"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("/mdoel", "/model"),
        ("/atach", "/attach"),
        ("/us", "/usage"),
        ("/branches", "/branch"),
        ("/stop!", "/stop"),
    ],
)
def test_a_mistyped_command_is_refused_with_the_one_that_was_meant(
    context: Context, word: str, meant: str
) -> None:
    with pytest.raises(CommandError, match=rf"Did you mean {meant}\?"):
        run_command(f"{word} x", context)


@pytest.mark.parametrize("word", ["/xyzzy", "/bogus", "/"])
def test_a_word_that_is_like_no_command_is_refused_too(context: Context, word: str) -> None:
    with pytest.raises(CommandError, match="/help lists the commands"):
        run_command(word, context)


def test_every_command_is_in_the_help_and_those_without_argument_run(context: Context) -> None:
    help = shown(run_command("/help", context))
    for name, command in COMMANDS.items():
        assert (name in help) == bool(command.help)
    for name in ("/open", "/model", "/attach", "/detach", "/branch", "/queue", "/usage", "/stop"):
        run_command(name, context)
    assert isinstance(run_command("/quit", context), Quit)
    assert run_command("/retry demo:demo", context) == Retry("demo:demo")
    assert run_command("/edit", context) == Edit(1, "/fast /tokens 2", None)
    assert run_command("/edit  new\n text", context) == Edit(1, "/fast /tokens 2", "new\n text")


def test_another_chat_is_opened_by_its_id_or_by_its_title(context: Context) -> None:
    other = context.client.create_chat(title="A very special title")
    for words in (other.id, other.id[-8:], "very special"):
        outcome = run_command(f"/open {words}", context)
        assert isinstance(outcome, Open)
        assert outcome.chat.id == other.id
    assert other.id[-8:] in shown(run_command("/open", context))
    with pytest.raises(CommandError, match="no such title"):
        run_command("/open no such title", context)
    outcome = run_command("/new", context)
    assert isinstance(outcome, Open)
    assert outcome.chat.record is not None
    assert outcome.chat.record.raw["model"] == "demo:demo"
    outcome.chat.delete()
    other.delete()


def test_files_are_kept_for_the_next_message(context: Context, tmp_path: Path) -> None:
    for name in ("one.txt", "two words.txt"):
        (tmp_path / name).write_text("content")
    assert "one.txt" in shown(run_command(f"/attach {tmp_path}/one.txt", context))
    run_command(f"/attach {tmp_path}/two words.txt", context)
    run_command(f"/attach '{tmp_path}/two words.txt' {tmp_path}/one.txt", context)
    assert [part["title"] for part in context.attachments] == [
        "one.txt",
        "two words.txt",
        "two words.txt",
        "one.txt",
    ]
    for wrong in ("/nowhere", "'unclosed"):
        with pytest.raises(UsageError):
            run_command(f"/attach {wrong}", context)
    run_command("/detach", context)
    assert context.attachments == []


def test_usage_is_told(context: Context) -> None:
    assert "input + 2 output tokens" in shown(run_command("/usage", context))


@pytest.mark.parametrize(
    "text", ["/queue dance", "/queue rm", "/queue edit 1", "/branch x", "/title", "/model nope:x", "/open zz"]
)
def test_a_wrong_argument_is_one_sentence(context: Context, text: str) -> None:
    with pytest.raises((CommandError, UsageError, ParleyError)) as refused:
        run_command(text, context)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
