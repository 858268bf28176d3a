"""A turn in which the model acts: a test fails, the model reads, edits and runs it again, and it passes.

One client asks, and another one answers the questions of the turn. The demo model decides by what the tools
return; nothing of it is recorded.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import anyio

from parley_clients import Chat, connect
from parley_clients.demo.screen import Screen
from parley_clients.events import Event
from parley_clients.requests import ActionRequest

ASKING, ANSWERING = "Emacs", "Neovim"
SECONDS = 120
SHOWN_LINES = 3
FILES = {
    "prices.py": "def total(price, count):\n    return price + count\n",
    "test_prices.py": (
        "import unittest\n\nfrom prices import total\n\n\nclass Prices(unittest.TestCase):\n"
        "    def test_three_of_four(self):\n        self.assertEqual(total(4, 3), 12)\n"
    ),
}


def make_repository(folder: Path) -> None:
    """Write a project whose test fails; a git repository, if git is installed."""
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    if shutil.which("git") is not None:
        subprocess.run(["git", "init", "--quiet", str(folder)], check=False, stderr=subprocess.DEVNULL)


def does_test_pass(folder: Path) -> bool:
    """Return whether the project's test passes."""
    command = [sys.executable, "-B", "-m", "unittest", "--quiet"]
    return subprocess.run(command, cwd=folder, check=False, stderr=subprocess.DEVNULL).returncode == 0


async def show_repair(screen: Screen, folder: Path) -> bool:
    """Show it; return whether the test fails before and passes afterwards."""
    make_repository(folder)
    failed_before = not await anyio.to_thread.run_sync(does_test_pass, folder)
    screen.title(f"A test fails. The demo model mends it, and {ANSWERING} is asked:")
    python = "python3" if shutil.which("python3") is not None else sys.executable
    outcome = ""
    async with (
        connect(client_name="emacs", start=False) as first,
        connect(client_name="nvim", start=False) as second,
    ):
        chat = await first.create_chat(
            model="demo:demo", agent="ask", context={"repositories": [folder.as_uri()]}
        )
        with anyio.move_on_after(SECONDS):
            async with second.chat(chat.id).attach() as live:
                question = f"/fix {python} -B -m unittest"
                screen.print_text(ASKING, f"? {question}\n")
                await chat.send(question)
                async for event in live:
                    await show_event(screen, second.chat(chat.id), event)
                    if event.type == "turn_ended":
                        outcome = event.raw["outcome"]
                        break
    passes = await anyio.to_thread.run_sync(does_test_pass, folder)
    good = failed_before and passes and outcome == "completed"
    screen.title(f"The test {'passes' if passes else 'STILL FAILS'}.")
    return good


async def show_event(screen: Screen, chat: Chat, event: Event) -> None:
    """Print an event of the turn; allow what is asked."""
    screen.print_text(ASKING, event.text)
    if event.request is not None:
        screen.end_line(ASKING)
        show_request(screen, event.request)
        await chat.respond(event.request, "allow")
    elif event.type == "tool_started":
        screen.end_line(ASKING)
        sandbox = event.raw["sandbox"]
        where = f" (sandbox: {sandbox})" if sandbox else ""
        screen.print_text(ASKING, f"▸ {event.raw['toolName']}{where}\n")
    elif event.tool_result is not None:
        lines = [line for line in str(event.tool_result["result"]).splitlines() if line.strip("-=. ")]
        for line in lines[-SHOWN_LINES:]:
            screen.print_text(ASKING, f"    {line}\n")
    elif event.type == "turn_ended":
        screen.end_line(ASKING)


def show_request(screen: Screen, request: ActionRequest) -> None:
    """Print what is asked, with its diff, and the answer."""
    preview = request.raw["preview"]
    screen.print_text(ANSWERING, f"is asked: {request.title}\n")
    for line in (preview["diff"] or "").splitlines():
        if line[:1] in "+-" and line[:3] not in ("+++", "---"):
            screen.print_text(ANSWERING, f"    {line}\n")
    screen.print_text(ANSWERING, "answers: yes\n")
