"""The demo of `make demo`: three chats at once in one daemon, and an answer that moves to another client.

It runs a private daemon in a temporary directory, offline. It exits with 1 if the text that two clients have
seen together differs from the stored answer.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import anyio

from parley_clients import Chat, Client, connect
from parley_protocol.fold import ChatView, plain_text
from parley_protocol.runtime import read_runtime_file, runtime_file

QUESTIONS = {
    "Emacs": "What happens to this answer when I close Emacs?",
    "script": "/tokens 25",
    "notes": "Why do chats belong to a daemon?",
}
MOVING_CLIENT = "Emacs"
PIECES_BEFORE_MOVE = 60
START_SECONDS = 20
COLOURS = {"Emacs": "36", "script": "33", "notes": "35", "Neovim": "32"}


class Screen:
    """Prints the lines of several speakers, each with its name; in colours on a terminal."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._unfinished: dict[str, str] = {}

    def title(self, text: str) -> None:
        """Print the title of a section."""
        self._write(f"\n\x1b[1m{text}\x1b[0m\n" if self._colours else f"\n== {text}\n")

    def print_text(self, speaker: str, text: str) -> None:
        """Print the complete lines of a streamed text; keep the rest."""
        *lines, rest = (self._unfinished.get(speaker, "") + text).split("\n")
        self._unfinished[speaker] = rest
        for line in lines:
            self._print_line(speaker, line)

    def end_line(self, speaker: str) -> None:
        """Print the rest of the streamed text."""
        rest = self._unfinished.pop(speaker, "")
        if rest.strip():
            self._print_line(speaker, rest)

    def _print_line(self, speaker: str, line: str) -> None:
        if line.strip():
            name = f"{speaker:>7}"
            shown = f"\x1b[{COLOURS[speaker]}m{name}\x1b[0m" if self._colours else name
            self._write(f"{shown} │ {line}\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def run_daemon(directory: Path) -> Generator[None]:
    """Run a daemon in this directory, which `connect` finds meanwhile."""
    environment = {
        "PARLEY_DATA_DIR": str(directory / "data"),
        "PARLEY_RUNTIME_DIR": str(directory / "run"),
        "PARLEY_CONFIG": str(directory / "config.toml"),
    }
    os.environ.update(environment)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("parleyd")), "serve"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while read_runtime_file(runtime_file(directory / "data")) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The demo's daemon did not start. Try: parleyd serve")
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


async def stream_answer(screen: Screen, speaker: str, chat: Chat, question: str) -> None:
    """Ask a question and print the answer while it is streamed."""
    screen.print_text(speaker, f"? {question}\n")
    part = 0
    async for event in chat.stream(question):
        if event.type == "message_part" and event.raw["index"] != part:
            part = event.raw["index"]
            screen.end_line(speaker)
        screen.print_text(speaker, event.reasoning or event.text)
    screen.end_line(speaker)


async def watch_beginning(screen: Screen, chat: Chat, question: str) -> ChatView:
    """Ask a question, detach during the answer, and return the state of the chat at that moment."""
    screen.print_text(MOVING_CLIENT, f"? {question}\n")
    async with chat.attach() as live:
        await chat.send(question)
        pieces = 0
        async for event in live:
            screen.print_text(MOVING_CLIENT, event.text)
            pieces += event.type == "message_part"
            if pieces == PIECES_BEFORE_MOVE:
                break
        screen.end_line(MOVING_CLIENT)
        return live.state


async def watch_rest(screen: Screen, client: Client, view: ChatView) -> str:
    """Continue in another client after the last event; return the text that both have seen."""
    async with client.chat(view.chat["id"]).attach(state=view) as live:
        how = "resumed by sequence number" if live.resumed else "from a snapshot"
        screen.title(f"Emacs is closed. Neovim attaches to the same answer ({how}):")
        async for event in live:
            screen.print_text("Neovim", event.text)
            if event.type == "turn_ended":
                break
        screen.end_line("Neovim")
        return plain_text(live.state.messages[-1]["content"])


async def run_demo() -> bool:
    """Run the demo; return whether the text that was seen is the stored answer."""
    screen, seen, stored = Screen(), "", ""
    view: ChatView | None = None
    screen.title("Three chats at once in one daemon, from two clients:")
    async with connect(client_name="nvim", start=False) as second, anyio.create_task_group() as tasks:
        tasks.start_soon(stream_answer, screen, "notes", await second.create_chat(), QUESTIONS["notes"])
        async with connect(client_name="emacs", start=False) as first, anyio.create_task_group() as firsts:
            firsts.start_soon(stream_answer, screen, "script", await first.create_chat(), QUESTIONS["script"])
            view = await watch_beginning(screen, await first.create_chat(), QUESTIONS[MOVING_CLIENT])
        assert view is not None
        seen = await watch_rest(screen, second, view)
        stored = plain_text((await second.chat(view.chat["id"]).get()).messages[-1]["content"])
    same = seen == stored != ""
    verdict = "exactly the stored answer" if same else "NOT the stored answer"
    screen.title(f"The text that Emacs and Neovim have seen together ({len(seen)} characters) is {verdict}.")
    return same


def list_chats() -> int:
    """Run `parley list`."""
    return subprocess.run([str(Path(sys.executable).with_name("parley")), "list"], check=False).returncode


def main() -> int:
    """Run the demo and return its exit code."""
    with tempfile.TemporaryDirectory(prefix="parley-") as directory, run_daemon(Path(directory)):
        good = anyio.run(run_demo)
        Screen().title("The chats in the daemon (parley list):")
        return 0 if list_chats() == 0 and good else 1


if __name__ == "__main__":
    sys.exit(main())
