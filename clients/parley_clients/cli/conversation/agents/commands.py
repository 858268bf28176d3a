"""The commands of `parley chat` about what the model may do and has done."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from parley_clients.cli.answers import describe_scope
from parley_clients.cli.arguments import AGENT_MODES
from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import describe_args, result_text, short_path, visible, visible_line
from parley_clients.results import Json
from parley_clients.sync import Chat

_PERMISSIONS_HELP = """\
/permissions                        the rules that count in this chat
/permissions allow TOOL [COMMAND]   allow a tool in this chat: /permissions allow run git status
/permissions ask TOOL [COMMAND]     ask about it, whatever the mode says
/permissions deny TOOL [COMMAND]    refuse it
/permissions why COMMAND            what is decided about a command, and why; runs nothing
/permissions rm ID                  remove a rule
deny is stronger than ask, and ask is stronger than allow, in whatever order the rules stand."""

_SEARCHED_MESSAGES = 200
_JOB_BEGUN = re.compile(r"Job ([\w-]+) runs in the background")
_JOB_STATE = re.compile(r"(?:^|\[)Job ([\w-]+): ([^.\]]*)")

_STATES = {"as_left": "", "changed_since": "changed since", "gone": "deleted since"}


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


# --------------------------------------------------------------------------------- rules


def permissions(context: Context, argument: str) -> Outcome:
    """List, add, remove or explain rules."""
    words = _split(argument)
    match words:
        case []:
            return Show(_describe_rules(context))
        case ["rm", id]:
            context.client.call("permission/remove", {"id": _find_rule(context, id)})
            return Show(f"removed {one_line(id)}")
        case ["allow" | "ask" | "deny" as effect, tool, *command]:
            rule: Json = {"effect": effect, "tool": tool, "scope": {"chatId": context.chat.id}}
            if command:
                rule["command"] = argument.split(maxsplit=2)[2]  # as it was typed: `$x` is not `'$x'`
            context.client.call("permission/add", rule)
            return Show(_describe_rules(context))
        case ["why", *_]:
            return Show(_explain(context, argument.strip()[3:].strip()))
        case _:
            return Show(_PERMISSIONS_HELP)


def _describe_rules(context: Context) -> str:
    raw = context.client.call("permission/list", {"chatId": context.chat.id}).raw
    rows: list[str] = []
    for rule in raw["rules"]:
        source = "" if rule["source"] == "user" else f", from {one_line(rule['source'])}"
        scope = describe_scope(rule["scope"])
        rows.append(f"{one_line(rule['id'])}  {visible_line(rule['text'])} — {scope}{source}")
    rows = rows or ["There are no rules: the mode decides. /permissions help explains more."]
    waiting = [one for one in raw["projects"] if not one["trusted"]]
    rows += [f"{short_path(one['uri'])} only asks and denies until you trust it: /trust" for one in waiting]
    return "\n".join([*rows, *([visible_line(raw["complaint"])] if raw["complaint"] else [])])


def _find_rule(context: Context, part: str) -> str:
    rules = context.client.call("permission/list", {"chatId": context.chat.id}).raw["rules"]
    ids: list[str] = [rule["id"] for rule in rules]
    found = [
        id for id in ids if id == part or (len(part) >= 4 and (id.startswith(part) or id.endswith(part)))
    ]
    if len(found) != 1:
        raise CommandError(f"{len(found) or 'No'} rules have the id {one_line(part)}.")
    return found[0]


def _explain(context: Context, command: str) -> str:
    if not command:
        raise UsageError("/permissions why needs a command, such as: /permissions why git push")
    params: Json = {"chatId": context.chat.id, "toolName": "run", "args": {"command": command}}
    raw = context.client.call("permission/explain", params).raw
    lines = [f"{raw['decision']}: {visible_line(raw['why'])}"]
    for one in raw.get("commands") or ():
        rule = f" by {one_line(one['ruleId'])}" if one.get("ruleId") else ""
        lines.append(f"  {visible_line(shlex.join(one['argv']))}: {one['decision']}{rule}")
    return "\n".join(lines)


# --------------------------------------------------------------------------------- trust


def trust(context: Context, argument: str) -> Outcome:
    """Show the files of projects that wait for trust, or trust them as they were shown."""
    files = _project_files(context)
    waiting = [one for one in files if not one["trusted"]]
    match argument:
        case "" if waiting:
            shown = [f"{short_path(one['uri'])}:\n{visible(one['text'])}".rstrip() for one in waiting]
            context.shown_hashes = {one["hash"] for one in waiting}
            return Show("\n\n".join([*shown, "/trust yes lets them count, with exactly this content."]))
        case "":
            known = [f"{short_path(one['uri'])} is trusted. /trust no takes that back." for one in files]
            return Show("\n".join(known) or "The folders of this chat have no rules and no AGENTS.md.")
        case "yes":
            # Only what was shown is trusted: a file may have changed since.
            chosen = [one for one in waiting if one["hash"] in context.shown_hashes]
            if not chosen:
                raise CommandError("/trust shows what would be trusted. Look at it first.")
        case "no":
            chosen = [one for one in files if one["trusted"]]
        case _:
            raise UsageError("Use /trust, /trust yes or /trust no.")
    for one in chosen:
        params: Json = {"root": one["root"], "hash": one["hash"], "trusted": argument == "yes"}
        context.client.call("workspace/trust", params)
    word = "trusted" if argument == "yes" else "not trusted any more"
    return Show("\n".join([f"{short_path(one['uri'])} is {word}." for one in chosen]))


def _project_files(context: Context) -> list[Json]:
    """Return the usable files of rules and of instructions of the chat's folders."""
    params = {"chatId": context.chat.id}
    raw = context.client.call("permission/list", params).raw
    # What is shown comes with the hash. The file itself may be another one by now.
    files = [{**one, "text": _rules_of(raw["rules"], one["root"])} for one in raw["projects"] if one["hash"]]
    instructions: list[Json] = context.client.call("agent/instructions", params).raw["files"]
    return files + [
        {**one, "trusted": one["state"] == "used"}
        for one in instructions
        if one["root"] is not None and one["state"] != "unusable"
    ]


def _rules_of(rules: Sequence[Json], root: str) -> str:
    """Return the rules that a project's file has, one in a line."""
    theirs = [rule for rule in rules if rule["source"] in ("project", "untrusted")]
    return "\n".join([f"  {rule['text']}" for rule in theirs if rule["scope"] == {"root": root}])


# ---------------------------------------------------------------------------------- undo


def undo(context: Context, argument: str) -> Outcome:
    """List the checkpoints, show what undoing one would do, or undo it."""
    checkpoints = _checkpoints(context)
    words = _split(argument)
    if not words or not checkpoints:
        return Show(_describe_checkpoints(checkpoints))
    if not words[0].isdecimal() or not 1 <= int(words[0]) <= len(checkpoints):
        raise UsageError("Use /undo, /undo N, /undo N yes [FILE…] or /undo N force FILE…")
    checkpoint = checkpoints[int(words[0]) - 1]
    goes, names = words[1:2] in (["yes"], ["force"]), words[2:]
    params: Json = {
        "chatId": context.chat.id,
        "checkpointId": checkpoint["id"],
        "dryRun": not goes,
        "force": words[1:2] == ["force"],
    }
    if not goes:
        names = words[1:]
    if names:
        params["paths"] = _find_paths(checkpoint, names)
    elif params["force"]:
        raise UsageError("/undo N force needs the files, because it overwrites what was changed since.")
    raw = context.client.call("chat/restore", params).raw
    return Show(_describe_restore(raw, words[0], done=goes))


def _checkpoints(context: Context) -> list[Json]:
    """Return the checkpoints of the chat, newest first."""
    return [one.raw for one in context.chat.checkpoints()]


def _describe_checkpoints(checkpoints: Sequence[Json]) -> str:
    rows: list[str] = []
    for number, checkpoint in enumerate(checkpoints, 1):
        when = checkpoint["at"][:16].replace("T", " ")
        rows.append(f"{number}  {when} UTC{'  (an undo)' if checkpoint['undoes'] else ''}")
        for file in checkpoint["files"]:
            state = _STATES.get(file["state"], one_line(file["state"]))
            lost = "" if file["restorable"] else "not kept"
            notes = ", ".join([note for note in (state, lost) if note])
            kind = one_line(file["changeType"])
            rows.append(f"   {kind:<8}  {short_path(file['path'])}" + (f"  ({notes})" if notes else ""))
    return "\n".join(
        [*rows, "/undo N shows what undoing N would do."] if rows else ["Nothing was changed here."]
    )


def _find_paths(checkpoint: Json, names: Sequence[str]) -> list[str]:
    """Return the paths of a checkpoint's files that are named by their ends."""
    paths = [file["path"] for file in checkpoint["files"]]
    found: list[str] = []
    for name in names:
        fitting = [path for path in paths if short_path(path) == name or path.endswith(f"/{name}")]
        if len(fitting) != 1:
            raise CommandError(f"{len(fitting) or 'No'} files of this change are named {one_line(name)}.")
        found += fitting
    return found


def _describe_restore(raw: Json, number: str, *, done: bool) -> str:
    verb = "restored" if done else "would restore"
    lines = [f"{verb}  {short_path(one['path'])}  ({one['changeType']})" for one in raw["restored"]]
    verb = "left alone" if done else "would leave alone"
    lines += [
        f"{verb}  {short_path(one['path'])}  ({visible_line(one['message'])})" for one in raw["conflicts"]
    ]
    if not lines:
        return "There is nothing to restore."
    if done and raw["restored"]:
        lines.append("/undo lists this, too: it can be undone.")
    elif not done and raw["restored"]:
        lines.append(f"/undo {number} yes does it.")
    if raw["conflicts"]:
        lines.append(f"/undo {number} force FILE… overwrites what was changed since.")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------- jobs


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


def _split(argument: str) -> list[str]:
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise UsageError(f"The words are not clear: {error}.") from None
