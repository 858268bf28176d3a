"""What MCP servers offer to people: their prompts as commands (`/docs:review`), and resources to attach."""

import shlex

from parley_clients.cli.conversation.outcomes import Context, Outcome, Send, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.steps import visible_line
from parley_clients.results import Json

_SHOWN = 100


def is_prompt(word: str) -> bool:
    """Return whether a word is a prompt of a server, such as "/docs:review"."""
    server, colon, name = word[1:].partition(":")
    return (
        word.startswith("/") and bool(colon and name) and server.replace("-", "").replace("_", "").isalnum()
    )


def send_prompt(context: Context, word: str, argument: str) -> Outcome:
    """Return a message with a prompt, whose arguments are `name=value`, or values in their order.

    Raises:
        CommandError: the server has no such prompt, or is not available.
        UsageError: the arguments are not those of the prompt.
    """
    server, _, name = word[1:].partition(":")
    listed: Json = context.client.mcp.prompts(context.chat.id).raw
    found = [one for one in listed["prompts"] if one["server"] == server and one["name"] == name]
    if not found:
        reasons = [one["reason"] for one in listed["unavailable"] if one["server"] == server]
        hint = visible_line(reasons[0]) if reasons else "/prompts lists the prompts of servers."
        raise CommandError(f"There is no prompt {word}. {hint} To send it as text, put a space before it.")
    part: Json = {"type": "prompt", "server": server, "name": name}
    given = read_arguments(found[0], argument)
    content = [{**part, "arguments": given} if given else part, *context.attachments]
    context.attachments = []
    return Send(f"{word} {argument}".strip(), content)


def read_arguments(prompt: Json, argument: str) -> dict[str, str]:
    """Return the arguments of a prompt by their names. The only one of a prompt needs no quotes.

    Raises:
        UsageError: there are too many, or one is missing.
    """
    names = [one["name"] for one in prompt["arguments"]]
    try:
        words = shlex.split(argument)
    except ValueError:
        words = argument.split()
    given: dict[str, str] = {}
    values: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in names:
            given[name] = value
        else:
            values.append(word)
    free = [name for name in names if name not in given]
    if len(free) == 1 and len(names) == 1 and values:
        values = [argument]
    missing = [one["name"] for one in prompt["arguments"] if one["required"]]
    given |= dict(zip(free, values, strict=False))
    lacks = [visible_line(name) for name in missing if name not in given]
    if lacks:
        verb = "is" if len(lacks) == 1 else "are"
        raise UsageError(f"{', '.join(lacks)} {verb} missing. Use {describe_usage(prompt)}")
    if len(values) > len(free):
        taken = f"{len(names)} argument{'' if len(names) == 1 else 's'}" if names else "no arguments"
        raise UsageError(f"This prompt takes {taken}. Use {describe_usage(prompt)}")
    return given


def describe_usage(prompt: Json) -> str:
    """Return how a prompt is called: its command and its arguments; those in brackets may be left out."""
    words = [f"{one['name']}=…" if one["required"] else f"[{one['name']}=…]" for one in prompt["arguments"]]
    return visible_line(" ".join([prompt["command"], *words]))


def describe_argument(argument: Json) -> str:
    """Return what an argument of a prompt is for."""
    about = visible_line(argument.get("description") or "")
    return about if argument["required"] else f"{about} (may be left out)".lstrip()


def prompts(context: Context, argument: str) -> Outcome:
    """List the prompts of the chat's servers."""
    raw: Json = context.client.mcp.prompts(context.chat.id).raw
    rows = [(describe_usage(one), one) for one in raw["prompts"]]
    return _show(rows, raw, "The MCP servers of this chat have no prompts.", "")


def resources(context: Context, argument: str) -> Outcome:
    """List the resources of the chat's servers."""
    raw: Json = context.client.mcp.resources(context.chat.id).raw
    rows = [(visible_line(one["reference"]), one) for one in raw["resources"]]
    advice = "/attach @SERVER:URI sends one with the next message. Fill in what stands in braces."
    return _show(rows, raw, "The MCP servers of this chat have no resources.", advice)


def _show(rows: list[tuple[str, Json]], raw: Json, none: str, advice: str) -> Outcome:
    lines: list[str] = []
    for name, one in rows[:_SHOWN]:
        about = one["description"] or one["title"]
        lines.append(f"{name}  {visible_line(about)}" if about else name)
    if len(rows) > _SHOWN:
        lines.append(f"… {len(rows) - _SHOWN} more: Tab completes them.")
    lines += [f"{visible_line(one['server'])}: {visible_line(one['reason'])}" for one in raw["unavailable"]]
    if rows and advice:
        lines.append(advice)
    return Show("\n".join(lines) or none)
