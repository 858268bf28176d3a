"""What a turn asks for, drawn on a terminal: the command, the diff, the plan or the questions. Requires rich.

Everything comes from a model, so every character is shown (`steps.visible`).
"""

import json
from collections.abc import Iterator
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.text import Text

from parley_clients.cli.answers import describe_rule, rule_keys
from parley_clients.cli.display.blocks import BlockCutter
from parley_clients.cli.display.markdown import THEME, RenderedBlock
from parley_clients.cli.forms import describe_page, form_fields
from parley_clients.cli.steps import describe_args, has_hidden_args, short_path, visible, visible_line
from parley_clients.requests import ActionRequest
from parley_clients.results import Json

_SHORT_LINES = 12
_EXPLAINED = frozenset(("command", "diff", "url", "plan", "questions", "form"))
"""Previews that show what is in the arguments."""

MAX_LINES = 2000
"""Lines of a diff or a command that are shown; the rest is counted."""

_DIFF_STYLES = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))


def render_request(request: ActionRequest, why: str = "") -> Iterator[RenderableType]:
    """Yield what a person has to see before answering, and `why` it is asked."""
    yield Text(f"? {visible_line(request.title)}", "bold magenta")
    preview = request.preview
    if preview.get("plan"):
        yield from _plan(preview["plan"])
    for number, question in enumerate(request.questions, 1):
        yield from _question(f"{number}. " if len(request.questions) > 1 else "", question, request.title)
    if request.form:
        yield from _form(request)
    if preview.get("command"):
        yield _block(preview["command"], "bold")
        yield Text(f"  in {short_path(preview['cwd'])}" if preview.get("cwd") else "", "dim")
    if preview.get("url"):
        yield _block(preview["url"], "bold")
    if preview.get("diff"):
        yield render_diff(preview["diff"])
    elif preview.get("paths"):
        yield Text("\n".join([f"  {short_path(path)}" for path in preview["paths"]]))
    if not _EXPLAINED & preview.keys() and request.tool_name is not None:
        yield Text(f"  {visible_line(request.tool_name)}  {describe_args(request.args)}")
        if has_hidden_args(request.args):
            # What is allowed has to be seen: also texts, lists and objects that do not fit into the line.
            yield _block(json.dumps(request.args, ensure_ascii=False, indent=2), "")
    if why:
        yield Text(f"  {visible_line(why)}", "dim")
    if request.human:
        yield Text("  A rule wants a person to decide this.", "dim")
    for key, rule in rule_keys(request):
        yield Text.assemble(
            ("  ", ""), (key, "bold"), (f"  always {describe_rule(rule, request.chat_id)}", "")
        )


def print_request(request: ActionRequest, file: TextIO) -> None:
    """Print what a person has to see before answering as plain text."""
    console = Console(file=file, no_color=True, highlight=False, theme=THEME)
    for part in render_request(request):
        console.print(part)


def render_diff(diff: str, *, indent: str = "  ", max_lines: int | None = MAX_LINES) -> Text:
    """Return a unified diff in colours, with the marks that show it without colours, too."""
    text = Text()
    lines = visible(diff).rstrip("\n").split("\n")
    for line in lines[:max_lines]:
        style = next((style for start, style in _DIFF_STYLES if line.startswith(start)), "")
        text.append(f"{indent}{line}\n", style)
    return _with_rest(text, min(len(lines), max_lines or len(lines)), len(lines))


def render_change(args: Any) -> Iterator[RenderableType]:
    """Yield what the arguments of a call write, in short: what is replaced, by what; or a patch."""
    fields = cast("Json", args) if isinstance(args, dict) else {}
    old, new = fields.get("oldText"), fields.get("newText", fields.get("content"))
    lines = [f"-{line}" for line in _lines(old)] + [f"+{line}" for line in _lines(new)]
    lines += _lines(fields.get("patch"))
    for line in lines[:_SHORT_LINES]:
        yield Text(f"  {visible(line)}", "green" if line[:1] == "+" else "red" if line[:1] == "-" else "")
    if len(lines) > _SHORT_LINES:
        yield Text(f"  … {len(lines) - _SHORT_LINES} more lines", "dim")


def _lines(text: Any) -> list[str]:
    return text.rstrip("\n").split("\n") if isinstance(text, str) and text else []


def _block(source: str, style: str) -> Text:
    lines = visible(source).rstrip("\n").split("\n")
    text = Text("\n".join([f"  {line}" for line in lines[:MAX_LINES]]) + "\n", style)
    return _with_rest(text, min(len(lines), MAX_LINES), len(lines))


def _with_rest(text: Text, shown: int, count: int) -> Text:
    if count > shown:
        text.append(f"  … {count - shown} more lines are not shown here\n", "bold red")
    text.right_crop(1)
    return text


def _plan(plan: str) -> Iterator[RenderableType]:
    cutter = BlockCutter()
    for block in (*cutter.feed(visible(plan)), *cutter.finish()):
        if not block.continues:
            yield Text()
        yield RenderedBlock(block)


def _form(request: ActionRequest) -> Iterator[RenderableType]:
    """Yield the words of a server, of which a title has only the first line, and the fields."""
    message = request.form["message"]
    if not request.title.endswith(message):
        yield _block(message, "")
    server = visible_line(request.form["server"])
    if request.preview.get("url"):
        yield Text(f"  {describe_page(server, request.preview['url'])}", "yellow")
    else:
        yield Text(f"  The MCP server {server} asks this and gets the answer: no secrets of yours.", "dim")
    fields = form_fields(request) or []
    for number, field in enumerate(fields, 1):
        needed = "" if field.is_required else "  (may be left out)"
        yield Text.assemble((f"  {number}. {visible_line(field.label)}", "bold"), (needed, "dim"))
        if field.description and field.description != field.label:
            yield Text(f"     {visible_line(field.description)}")
        for index, (_, label) in enumerate(field.choices, 1):
            yield Text(f"     {index}  {visible_line(label)}")


def _question(number: str, question: Json, title: str) -> Iterator[RenderableType]:
    if question["text"] != title:
        yield Text(f"  {number}{visible(question['text'])}", "bold")
    for index, option in enumerate(question.get("options") or (), 1):
        yield Text(f"    {index}  {visible_line(option)}")
    if question.get("multi"):
        yield Text("    several may be chosen, with commas", "dim")
