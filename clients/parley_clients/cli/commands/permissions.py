"""`parley permission` and `parley trust`: rules of what models may do, and trust in the files of projects."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, CommandError, UsageError, check_text
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import connect_daemon, find_chat
from parley_clients.cli.servers import project_files
from parley_clients.cli.steps import path_of, visible, visible_line
from parley_clients.results import Json
from parley_clients.sync import Client


def permission(options: argparse.Namespace) -> int:
    """List, add, remove or explain rules."""
    match options.action:
        case "list":
            return _list(options)
        case "add":
            return _add(options)
        case "remove":
            return _remove(options)
        case _:
            return _explain(options)


def _list(options: argparse.Namespace) -> int:
    if len(options.words) > 1:
        raise UsageError("list takes at most the id of a chat.")
    with connect_daemon(options) as client:
        chat_id = find_chat(client, options.words[0]) if options.words else None
        raw = client.permissions.list(chat_id).raw
    if options.json:
        print_json(raw)
        return 0
    for rule in raw["rules"]:
        sys.stdout.write(_row(rule["id"], rule["text"], _scope_text(rule["scope"]), rule["source"]))
    for project in raw["projects"]:
        if project["complaint"] is not None:
            sys.stderr.write(f"{one_line(project['complaint'])}\n")
        elif not project["trusted"]:
            sys.stderr.write(
                f"{one_line(project['uri'])} is not trusted: it only asks and denies. See parley trust.\n"
            )
    if raw["complaint"] is not None:
        sys.stderr.write(f"{one_line(raw['complaint'])}\n")
    return 0


def _add(options: argparse.Namespace) -> int:
    words: list[str] = options.words
    if len(words) not in (1, 2) or words[0] not in ("allow", "ask", "deny"):
        raise UsageError("Give what the rule says (allow, ask or deny) and a tool, such as: add allow run.")
    scope: Any = None
    if options.root is not None:
        scope = {"root": uri_of(options.root)}
    with connect_daemon(options) as client:
        if options.chat is not None:
            scope = {"chatId": find_chat(client, options.chat)}
        raw = client.permissions.add(
            words[0],  # pyright: ignore[reportArgumentType] - checked above
            words[1] if len(words) > 1 else "*",
            command=None if options.rule_command is None else check_text(options.rule_command, "The command"),
            exact=options.exact or None,
            paths=options.paths or None,
            hosts=options.hosts or None,
            network=options.network,
            human=options.human or None,
            scope=scope,
            expires_at=options.until,
            match=options.match or None,
            not_match=options.not_match or None,
        ).raw
    if options.json:
        print_json(raw)
    else:
        sys.stdout.write(_row(raw["id"], raw["text"], _scope_text(raw["scope"]), raw["source"]))
    return 0


def _remove(options: argparse.Namespace) -> int:
    if not options.words:
        raise UsageError("remove takes the ids of rules, from parley permission list.")
    with connect_daemon(options) as client:
        for id in options.words:
            client.permissions.remove(id)
    return 0


def _explain(options: argparse.Namespace) -> int:
    if len(options.words) != 3:
        raise UsageError(
            """explain takes a chat, a tool and its arguments as JSON: CHAT run '{"command": "ls"}'."""
        )
    chat, tool, text = options.words
    try:
        args = json.loads(text)
    except ValueError:
        raise UsageError(f"The arguments are no JSON: {one_line(text)[:100]}") from None
    with connect_daemon(options) as client:
        raw = client.permissions.explain(find_chat(client, chat), tool, args).raw
    if options.json:
        print_json(raw)
        return 0
    sys.stdout.write(f"{raw['decision']}: {visible_line(raw['why'])}\n")
    if raw.get("network") is not None:
        sys.stdout.write(f"  network:\t{raw['network']}\n")
    for command in raw["commands"]:
        by = f" by {one_line(command['ruleId'])}" if command["ruleId"] else ""
        sys.stdout.write(f"  {command['decision']}\t{visible_line(shlex.join(command['argv']))}{by}\n")
    for rule in raw["offers"]:
        sys.stdout.write(
            f"  always:\t{visible_line(rule['text'])}\t{visible_line(_scope_text(rule['scope']))}\n"
        )
    return 0


def trust(options: argparse.Namespace) -> int:
    """Show the files of a project that wait for trust; with --yes trust them, with --withdraw do not."""
    root = uri_of(options.folder)
    with connect_daemon(options) as client:
        files = _project_files(client, root)
        wanted = [one for one in files if one["hash"] and one["trusted"] == options.withdraw]
        if options.yes or options.withdraw:
            for one in wanted:
                client.permissions.trust(one["root"], one["hash"], trusted=not options.withdraw)
                one["trusted"] = not options.withdraw
    if options.json:
        print_json({"files": files})
        return 0
    for one in files:
        is_shown = one["text"] and (one in wanted or not one["trusted"])
        state = "trusted" if one["trusted"] else "not trusted" if one["hash"] else "cannot be used"
        sys.stdout.write(_row(one["uri"], state, one["problem"] or ""))
        if is_shown:
            sys.stdout.write("".join([f"    {line}\n" for line in visible(one["text"].rstrip()).split("\n")]))
    if not files:
        folder = visible_line(path_of(root))
        sys.stderr.write(f"There is no AGENTS.md, .mcp.json or .parley/permissions.toml in {folder}.\n")
        return EXIT_FAILURE
    if not options.yes and not options.withdraw and any(one["hash"] and not one["trusted"] for one in files):
        sys.stderr.write("To trust them with exactly this content: the same command with --yes.\n")
    return 0


def _project_files(client: Client, root: str) -> list[Json]:
    """Return the files of a folder that can be trusted, with what they say."""
    listed = client.permissions.list(root=root).raw
    theirs = [rule["text"] for rule in listed["rules"] if rule["source"] in ("project", "untrusted")]
    instructions = client.permissions.instructions(root=root).raw["files"]
    return [
        *[{**one, "text": "\n".join(theirs), "problem": one["complaint"]} for one in listed["projects"]],
        *[{**one, "trusted": one["state"] == "used"} for one in instructions if one["root"] is not None],
        *[{**one, "problem": None} for one in project_files(client.mcp.list(root=root).servers)],
    ]


def uri_of(folder: str) -> str:
    """Return the URI of a folder.

    Raises:
        CommandError: there is no such folder.
    """
    if folder.startswith("file:"):
        return folder
    path = Path(folder).expanduser().resolve()
    if not path.is_dir():
        raise CommandError(f"There is no folder {visible_line(str(path))}.")
    return path.as_uri()


def _scope_text(scope: Any) -> str:
    if isinstance(scope, str):
        return scope
    return f"chat {scope['chatId']}" if "chatId" in scope else scope["root"]


def _row(*fields: str) -> str:
    return "\t".join([visible_line(field) for field in fields]).rstrip() + "\n"
