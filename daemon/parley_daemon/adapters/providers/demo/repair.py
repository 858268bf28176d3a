"""The turn of `/fix`: the demo model runs tests, reads, edits, and runs them again until they pass.

It is no recording. Each message follows from the results so far: a test that passes ends the turn, a denied
edit does, and so does a failure that the demo does not understand. It understands one kind: a test calls a
function with plain values, and the function returns two operands with a wrong operator between them.
"""

import ast
import operator
import posixpath
import re
from collections.abc import Callable, Mapping

import msgspec

from parley_daemon.adapters.providers.demo.script import Message, ToolTurn, result_text, shown_reason
from parley_daemon.core.parts import ToolCall, ToolResult

COMMAND = "python3 -m unittest"
"""What is run if the prompt names no command."""

_MAX_EDITS = 3
_NEEDED = ("run", "read_file", "edit_file")
_FAILS = re.compile(r"Traceback|AssertionError|^FAILED|^E  |\bfailed\b", re.MULTILINE)
_EXPECTATIONS = (
    re.compile(r"assertEqual\((?P<name>\w+)\((?P<args>[^()\n]*)\), (?P<value>[^()\n]+)\)"),
    re.compile(r"assert (?P<name>\w+)\((?P<args>[^()\n]*)\) == (?P<value>[^\n]+)"),
)
_PLACES = (
    re.compile(r'File "([^"\n]+)", line \d+, in (?:test|<module>\n +assert )'),
    re.compile(r"^([^\s:]+\.py):\d+: ", re.MULTILINE),
)
_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": operator.mod,
}


class _Expectation(msgspec.Struct, frozen=True, gc=False):
    """What a failed test expects: the value of a function for these arguments."""

    name: str
    arguments: tuple[float, ...]
    value: float


def next_of_repair(command: str, turn: ToolTurn) -> Message:
    """Return the next message of the turn."""
    missing = [name for name in _NEEDED if name not in turn.tools]
    if missing and not turn.done:
        names = " and ".join([f"`{name}`" for name in missing])
        return Message(f"I cannot mend it without {names}: what this chat is allowed leaves that out.\n")
    command = command.strip() or COMMAND
    steps = [pair for message in turn.done for pair in message]
    if not steps:
        return Message(f"I run the tests first: `{command}`.\n\n", (("run", {"command": command}),))
    call, result = steps[-1]
    if result.outcome in ("denied", "interrupted", "timed_out"):
        return Message(f"`{call.tool_name}` did not run, so I stop here:\n\n{shown_reason(result)}\n")
    if call.tool_name == "run":
        return _after_run(result_text(result), steps)
    if result.is_error:
        return Message(f"`{call.tool_name}` failed, so I stop here:\n\n{shown_reason(result)}\n")
    if call.tool_name == "edit_file":
        return Message("Now I run the tests again.\n\n", (("run", {"command": command}),))
    return _after_read(steps)


def _after_run(output: str, steps: list[tuple[ToolCall, ToolResult]]) -> Message:
    edited = [call.args["path"] for call, _ in steps if call.tool_name == "edit_file"]
    if not _FAILS.search(output):
        if not edited:
            return Message("All tests pass. There is nothing to fix.\n")
        files = ", ".join(f"`{posixpath.basename(path)}`" for path in dict.fromkeys(edited))
        return Message(f"The tests pass now. I changed {files}.\n")
    test = _find(_PLACES, output)
    expectation = _read_expectation(output)
    if test is None or expectation is None or len(edited) >= _MAX_EDITS:
        return Message(_NOT_UNDERSTOOD)
    text = f"`{expectation.name}` does not return {expectation.value:g}. I look at the test.\n\n"
    return Message(text, (("read_file", {"path": test}),))


def _after_read(steps: list[tuple[ToolCall, ToolResult]]) -> Message:
    """Read the module that the test imports from, or mend the function in it."""
    output = next(result_text(result) for call, result in reversed(steps) if call.tool_name == "run")
    expectation = _read_expectation(output)
    call, result = steps[-1]
    path, text = str(call.args["path"]), result_text(result)
    if expectation is None:
        return Message(_NOT_UNDERSTOOD)
    defined = re.search(rf"^( *)def {expectation.name}\(([^()\n]*)\)[^\n]*:\n", text, re.MULTILINE)
    if defined is None:
        imported = re.search(rf"^from ([\w.]+) import .*\b{expectation.name}\b", text, re.MULTILINE)
        if imported is None or steps[-2][0].tool_name != "run":
            return Message(_NOT_UNDERSTOOD)
        module = posixpath.join(posixpath.dirname(path), imported[1].replace(".", "/") + ".py")
        return Message(
            f"It comes from `{imported[1]}`. I read that, too.\n\n", (("read_file", {"path": module}),)
        )
    parameters = [name.partition(":")[0].partition("=")[0].strip() for name in defined[2].split(",")]
    names = dict(zip(parameters, expectation.arguments, strict=False))
    mended = _mend(text[defined.end() :], names, expectation)
    if mended is None:
        return Message(_NOT_UNDERSTOOD)
    old, new = mended
    head = text[defined.start() : defined.end()]
    arguments = {"path": path, "oldText": head + old, "newText": head + new}
    said = f"`{old.strip()}` is wrong: with `{new.strip()}`, it returns {expectation.value:g}.\n\n"
    return Message(said, (("edit_file", arguments),))


def _mend(body: str, names: Mapping[str, float], expectation: _Expectation) -> tuple[str, str] | None:
    """Return the beginning of a function's body up to its return, as it is and as it should be."""
    found = re.match(
        r"(?P<before>(?:[ \t]+[^\n]*\n){0,20}?[ \t]+return )"
        r"(?P<a>\w+) (?P<op>[-+*%]|//?) (?P<b>\w+)(?=\n|$)",
        body,
    )
    if found is None:
        return None
    try:
        operands = [names[word] if word in names else float(word) for word in (found["a"], found["b"])]
    except ValueError:
        return None
    for sign, compute in _OPERATORS.items():
        try:
            is_right = sign != found["op"] and compute(*operands) == expectation.value
        except ArithmeticError:
            continue
        if is_right:
            return found[0], f"{found['before']}{found['a']} {sign} {found['b']}"
    return None


def _read_expectation(output: str) -> _Expectation | None:
    for pattern in _EXPECTATIONS:
        found = pattern.search(output)
        if found is None:
            continue
        try:
            arguments = ast.literal_eval(f"({found['args']},)")
            value = ast.literal_eval(found["value"].strip())
            return msgspec.convert(
                {"name": found["name"], "arguments": arguments, "value": value}, _Expectation
            )
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return None


def _find(patterns: tuple[re.Pattern[str], ...], text: str) -> str | None:
    for pattern in patterns:
        found = pattern.search(text)
        if found is not None:
            return found[1]
    return None


_NOT_UNDERSTOOD = (
    "I am a demo, and I do not understand this failure. I only know how to mend a wrong operator in a"
    " function that a test calls with numbers. A real model would read on.\n"
)
