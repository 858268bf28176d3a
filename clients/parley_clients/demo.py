"""What `make demo` shows: one daemon, three chats at once, and an answer that moves from client to client.

Runs a daemon of its own in a temporary directory, offline, and checks what it shows: it exits with 1 when a
reattached answer is not, to the letter, what was stored.
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
MOVED = "Emacs"
TAKEN_OVER_AFTER = 60
START_SECONDS = 20
COLOURS = {"Emacs": "36", "script": "33", "notes": "35", "Neovim": "32"}


class Screen:
    """Lines of several speakers, each under its name; colours and pieces of lines only in a terminal."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._open: dict[str, str] = {}

    def title(self, text: str) -> None:
        """Begin a section."""
        self._write(f"\n\x1b[1m{text}\x1b[0m\n" if self._colours else f"\n== {text}\n")

    def say(self, who: str, text: str) -> None:
        """Take more of what somebody says; whole lines are shown."""
        *lines, rest = (self._open.get(who, "") + text).split("\n")
        self._open[who] = rest
        for line in lines:
            self._line(who, line)

    def end(self, who: str) -> None:
        """Show what is left of what somebody said."""
        rest = self._open.pop(who, "")
        if rest.strip():
            self._line(who, rest)

    def _line(self, who: str, line: str) -> None:
        if line.strip():
            name = f"{who:>7}"
            shown = f"\x1b[{COLOURS[who]}m{name}\x1b[0m" if self._colours else name
            self._write(f"{shown} │ {line}\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def daemon(directory: Path) -> Generator[None]:
    """Run a daemon in this directory; it is what `connect` finds meanwhile."""
    places = {
        "PARLEY_DATA_DIR": str(directory / "data"),
        "PARLEY_RUNTIME_DIR": str(directory / "run"),
        "PARLEY_CONFIG": str(directory / "config.toml"),
    }
    os.environ.update(places)
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


async def tell(screen: Screen, who: str, chat: Chat, question: str) -> None:
    """Ask, and show the answer as it comes, part by part."""
    screen.say(who, f"? {question}\n")
    part = 0
    async for event in chat.stream(question):
        if event.type == "message_part" and event.raw["index"] != part:
            part = event.raw["index"]
            screen.end(who)
        screen.say(who, event.reasoning or event.text)
    screen.end(who)


async def begin(screen: Screen, chat: Chat, question: str) -> ChatView:
    """Ask, look at the answer for a while, and return what was seen when leaving in the middle of it."""
    screen.say(MOVED, f"? {question}\n")
    async with chat.attach() as live:
        await chat.send(question)
        pieces = 0
        async for event in live:
            screen.say(MOVED, event.text)
            pieces += event.type == "message_part"
            if pieces == TAKEN_OVER_AFTER:
                break
        screen.end(MOVED)
        return live.state


async def take_over(screen: Screen, client: Client, view: ChatView) -> str:
    """Go on where the other client stopped, by the number of its last event; return all the text seen."""
    async with client.chat(view.chat["id"]).attach(state=view) as live:
        how = "resumed by number" if live.resumed else "from a snapshot"
        screen.title(f"Emacs is closed. Neovim attaches to the same answer ({how}):")
        async for event in live:
            screen.say("Neovim", event.text)
            if event.type == "turn_ended":
                break
        screen.end("Neovim")
        return plain_text(live.state.messages[-1]["content"])


async def show() -> bool:
    """Run the demo; return whether everything was as it should be."""
    screen, seen, stored = Screen(), "", ""
    view: ChatView | None = None
    screen.title("Three chats at once in one daemon, from two clients:")
    async with connect(client_name="nvim", start=False) as second, anyio.create_task_group() as tasks:
        tasks.start_soon(tell, screen, "notes", await second.create_chat(), QUESTIONS["notes"])
        async with connect(client_name="emacs", start=False) as first, anyio.create_task_group() as firsts:
            firsts.start_soon(tell, screen, "script", await first.create_chat(), QUESTIONS["script"])
            view = await begin(screen, await first.create_chat(), QUESTIONS[MOVED])
        assert view is not None
        seen = await take_over(screen, second, view)
        stored = plain_text((await second.chat(view.chat["id"]).get()).messages[-1]["content"])
    same = seen == stored != ""
    verdict = "to the letter what is stored" if same else "NOT what is stored"
    screen.title(f"What Emacs and Neovim saw together, {len(seen)} characters, is {verdict}.")
    return same


def list_stored() -> int:
    """Show the stored chats as `parley list` does."""
    return subprocess.run([str(Path(sys.executable).with_name("parley")), "list"], check=False).returncode


def main() -> int:
    """Run the demo and return its exit code."""
    with tempfile.TemporaryDirectory(prefix="parley-") as directory, daemon(Path(directory)):
        good = anyio.run(show)
        Screen().title("The chats that the daemon holds now (parley list):")
        return 0 if list_stored() == 0 and good else 1


if __name__ == "__main__":
    sys.exit(main())
