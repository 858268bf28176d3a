"""The demo model with tools: scripts of calls, and the story of a test that it mends."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from parley_daemon.adapters.providers.demo.model import DemoModel
from parley_daemon.core.parts import (
    Part,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolOutcome,
    ToolResult,
    fold,
    plain_text,
)
from parley_daemon.ports.models import Chunk, Finish, ModelRequest, PromptMessage, ToolChoice, ToolDeclaration

NAMES = ("edit_file", "read_file", "run")
MORE_ROUNDS = 12


class Chat:
    """A chat with the demo model, whose tools the test plays."""

    def __init__(self, prompt: str, *tools: str) -> None:
        self.messages = [PromptMessage("user", (Text(prompt),))]
        self.tools = tuple(ToolDeclaration(name, "", {"type": "object"}) for name in tools or NAMES)
        self.chunks: list[Chunk] = []

    async def ask(self, tool_choice: ToolChoice = "auto") -> tuple[str, list[ToolCall]]:
        """Return the text and the calls of the next message."""
        request = ModelRequest("demo", tuple(self.messages), tools=self.tools, tool_choice=tool_choice)
        with anyio.fail_after(30):
            self.chunks = [chunk async for batch in DemoModel(pace=0).stream(request) for chunk in batch]
        pieces = [chunk for chunk in self.chunks if isinstance(chunk, Text | ToolCallPiece | ToolCall)]
        parts = fold(pieces)
        self.messages.append(PromptMessage("assistant", parts))
        return plain_text(parts), [part for part in parts if isinstance(part, ToolCall)]

    def answer(self, *results: object, outcome: ToolOutcome = "ok") -> None:
        """Add the results of the last calls."""
        calls = [part for part in self.messages[-1].parts if isinstance(part, ToolCall)]
        parts: list[Part] = [
            ToolResult(call.tool_call_id, call.tool_name, result, outcome != "ok", outcome)
            for call, result in zip(calls, results, strict=True)
        ]
        self.messages.append(PromptMessage("tool", tuple(parts)))


async def test_a_script_calls_message_by_message_and_tells_what_came_of_it() -> None:
    chat = Chat(
        '/tool read_file {"path": "a"}\n/tool read_file\n{\n  "path": "b"\n}\n'
        '/then\n/tool job_output\n/tool odd {"x": 1}'
    )
    _, calls = await chat.ask()
    assert [(call.tool_name, call.args) for call in calls] == [
        ("read_file", {"path": "a"}),
        ("read_file", {"path": "b"}),
    ]
    deltas = [chunk for chunk in chat.chunks if isinstance(chunk, ToolCallPiece)]
    assert len({call.tool_call_id for call in calls}) == 2
    assert "".join(piece.args_delta for piece in deltas if piece.tool_call_id == calls[0].tool_call_id) == (
        '{"path":"a"}'
    )
    assert chat.chunks[-1] == Finish("tool_calls")
    chat.answer("one", [{"type": "text", "text": "two"}])
    _, later = await chat.ask()
    assert [(call.tool_name, call.args) for call in later] == [("job_output", {}), ("odd", {"x": 1})]
    assert not {call.tool_call_id for call in calls} & {call.tool_call_id for call in later}
    chat.answer({"a": 1}, "no such tool", outcome="failed")
    text, calls = await chat.ask()
    assert (calls, chat.chunks[-1]) == ([], Finish("stop"))
    for shown in ("`read_file`: ok", "one", "two", "`odd`: failed", "no such tool", '{"a":1}'):
        assert shown in text
    chat.messages.append(PromptMessage("user", (Text("/tool run"),)))
    _, again = await chat.ask()
    assert again[0].tool_call_id not in {call.tool_call_id for call in later}


async def test_a_script_that_is_wrong_is_explained() -> None:
    cases = {
        "/tool": "A call is `/tool NAME",
        "/tool read_file {bad": "not valid JSON",
        "/tool read_file {}\nand then more": "not valid JSON",
    }
    for prompt, message in cases.items():
        text, calls = await Chat(prompt).ask()
        assert (message in text, calls) == (True, [])


async def test_without_tools_it_says_how_to_turn_them_on() -> None:
    chat = Chat("/fix")
    chat.tools = ()
    assert "parley chat --agent" in (await chat.ask())[0]
    script = Chat("/tool run\n/then\n/tool run")
    await script.ask()
    script.answer("done")
    text, calls = await script.ask(tool_choice="none")
    assert (calls, script.chunks[-1]) == ([], Finish("stop"))
    assert "run" in text
    assert "`run`" in (await Chat("/fix", "read_file").ask())[0]


def play(folder: Path, call: ToolCall) -> str:
    """Do what the tools do, as far as the story needs it."""
    args: Mapping[str, Any] = call.args
    match call.tool_name:
        case "run":
            command = args["command"].replace("python3", sys.executable)
            done = subprocess.run(
                command.split(),
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            return done.stdout
        case "read_file":
            return f"[file]\n{(folder / args['path']).read_text()}"
        case _:
            path = folder / args["path"]
            assert path.read_text().count(args["oldText"]) == 1
            path.write_text(path.read_text().replace(args["oldText"], args["newText"]))
            return "done"


async def fix(folder: Path, prompt: str) -> tuple[list[str], str]:
    """Return the tools that were called, and the last text."""
    chat = Chat(prompt)
    names: list[str] = []
    for _ in range(MORE_ROUNDS):
        text, calls = await chat.ask()
        if not calls:
            return names, text
        names += [call.tool_name for call in calls]
        chat.answer(*[play(folder, call) for call in calls])
    raise AssertionError(f"the story does not end: {names}")


TEST = """import unittest
from shop.prices import total

class Totals(unittest.TestCase):
    def test_total(self):
        self.assertEqual(total(3, 4), 12)
"""
STORY = ["run", "read_file", "read_file", "edit_file", "run"]


async def test_a_failing_test_is_mended_by_what_the_results_say(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    prices = tmp_path / "shop" / "prices.py"
    prices.write_text(
        "def tax(a, b):\n    return a + b\n\n\ndef total(price, count=1):\n    return price + count\n"
    )
    (tmp_path / "test_prices.py").write_text(TEST)
    command = "/fix python3 -B -m unittest"
    names, text = await fix(tmp_path, command)
    assert (names, text) == (STORY, "The tests pass now. I changed `prices.py`.\n")
    assert prices.read_text().endswith("    return price * count\n")
    assert "return a + b" in prices.read_text()
    assert await fix(tmp_path, command) == (["run"], "All tests pass. There is nothing to fix.\n")


async def test_a_failure_of_another_kind_is_admitted(tmp_path: Path) -> None:
    (tmp_path / "test_odd.py").write_text(
        "import unittest\n\nclass Odd(unittest.TestCase):\n    def test(self):\n        self.fail('?')\n"
    )
    names, text = await fix(tmp_path, "/fix python3 -B -m unittest")
    assert (names, "I do not understand this failure" in text) == (["run"], True)


async def test_a_denial_ends_the_story_with_its_reason() -> None:
    chat = Chat("/fix make test")
    text, calls = await chat.ask()
    assert ("`make test`" in text, calls[0].args) == (True, {"command": "make test"})
    chat.answer("The person did not allow this call. They say: not now", outcome="denied")
    text, calls = await chat.ask()
    assert calls == []
    assert "> The person did not allow this call. They say: not now" in text


async def test_a_script_that_asserts_something_is_mended_too(tmp_path: Path) -> None:
    (tmp_path / "area.py").write_text("def area(width, height):\n    return width + height\n")
    (tmp_path / "check.py").write_text("from area import area\n\nassert area(2, 3) == 6\n")
    names, text = await fix(tmp_path, "/fix python3 -B check.py")
    assert (names, text) == (STORY, "The tests pass now. I changed `area.py`.\n")
