"""The commands of `parley chat` about rules, and about trust in the files of projects."""

import shlex
from collections.abc import Sequence

from parley_clients.cli.answers import describe_scope
from parley_clients.cli.conversation.agents.words import split_words
from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import one_line
from parley_clients.cli.servers import project_files
from parley_clients.cli.steps import short_path, visible, visible_line
from parley_clients.results import Json

_PERMISSIONS_HELP = """\
/permissions                        the rules that count in this chat
/permissions allow TOOL [COMMAND]   allow a tool in this chat: /permissions allow run git status
/permissions ask TOOL [COMMAND]     ask about it, whatever the mode says
/permissions deny TOOL [COMMAND]    refuse it
/permissions why COMMAND            what is decided about a command, and why; runs nothing
/permissions rm ID                  remove a rule
deny is stronger than ask, and ask is stronger than allow, in whatever order the rules stand."""


def permissions(context: Context, argument: str) -> Outcome:
    """List, add, remove or explain rules."""
    words = split_words(argument)
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
            nothing = "The folders of this chat have no rules, no AGENTS.md and no .mcp.json."
            return Show("\n".join(known) or nothing)
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
    files += project_files(context.client.mcp.list(context.chat.id).servers)
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
