"""The commands of `parley chat` about the mode, the tools and the jobs of a chat."""

import re
from typing import Any

from parley_clients.cli.arguments import AGENT_MODES
from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import describe_args, result_text
from parley_clients.results import Json
from parley_clients.sync import Chat

_SEARCHED_MESSAGES = 200
_JOB_BEGUN = re.compile(r"Job ([\w-]+) runs in the background")
_JOB_STATE = re.compile(r"(?:^|\[)Job ([\w-]+): ([^.\]]*)")


def mode(context: Context, argument: str) -> Outcome:
    """Show or set the mode."""
    if not argument:
        return Show(f"mode {_agent(context.chat).get('mode') or 'off'}")
    if argument not in AGENT_MODES:
        raise UsageError(f"There is no mode {one_line(argument)}. The modes: {', '.join(AGENT_MODES)}.")
    record = set_mode(context.chat, argument)
    has_root = bool(record["context"].get("repositories"))
    hint = "" if has_root or argument == "off" else ", without a folder: parley chat --agent ID sets this one"
    return Show(f"mode {argument}{hint}")


def set_mode(chat: Chat, mode: str) -> Json:
    """Set the mode of a chat, and return the chat."""
    agent = {**_agent(chat), "mode": mode}
    assert chat.record is not None
    return chat.update(settings={**chat.record.raw["settings"], "agent": agent}).raw


def _agent(chat: Chat) -> Json:
    """Return the settings of agents of a chat, which is read for it."""
    settings: Json = chat.get(limit=1).raw["chat"]["settings"]
    return settings.get("agent") or {}


def tools(context: Context, argument: str) -> Outcome:
    """List the tools of the model."""
    raw = context.client.call("tool/list", {"chatId": context.chat.id}).raw
    rows: list[str] = []
    width = max([len(tool["name"]) for tool in raw["tools"]], default=0)
    for tool in raw["tools"]:
        decision = tool["decision"] if tool["available"] else f"unavailable: {one_line(tool['reason'] or '')}"
        rows.append(f"{one_line(tool['name']):<{width}}  {tool['kind']:<7}  {decision}")
    return Show("\n".join(rows) or "The model of this chat has no tools. /mode ask gives it some.")


def jobs(context: Context, argument: str) -> Outcome:
    """List the commands that the model has started in the background."""
    rows = [f"{id}  {state}  {command}" for id, (command, state) in _find_jobs(context).items()]
    if not rows:
        return Show("No command was started in the background.")
    return Show(
        "\n".join([*rows, "This is what was last heard of them. Ask the model to look, or to stop one."])
    )


def _find_jobs(context: Context) -> dict[str, tuple[str, str]]:
    """Return the command and the state of each job, from what the tools said of it in the newest messages."""
    calls: dict[str, Any] = {}
    found: dict[str, tuple[str, str]] = {}
    for message in context.chat.get(limit=_SEARCHED_MESSAGES).messages:
        for part in message["content"]:
            if part["type"] == "tool-call":
                calls[part["toolCallId"]] = part.get("args")
            elif part["type"] == "tool-result" and part["toolName"] in ("run", "job_output", "job_stop"):
                text = result_text(part.get("result"))
                begun = _JOB_BEGUN.match(text) if part["toolName"] == "run" else None
                if begun is not None:
                    found[begun.group(1)] = (describe_args(calls.get(part["toolCallId"])), "running")
                told = _JOB_STATE.search(text) if part["toolName"] != "run" else None
                if told is not None and told.group(1) in found:
                    found[told.group(1)] = (found[told.group(1)][0], one_line(told.group(2)))
    return found


def nothing_asked(context: Context, argument: str) -> Outcome:
    """Answer a command that belongs to a question."""
    raise CommandError("Nothing is asked at the moment.")
