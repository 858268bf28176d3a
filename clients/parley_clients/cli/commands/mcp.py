"""`parley mcp`: the MCP servers that chats use.

Values of variables and headers are secrets, and other users of the machine can see a command line. So they
need not be given there: `--env NAME` takes the value from the environment, and `--header NAME` asks for it.
"""

import argparse
import getpass
import os
import sys
from typing import Any

from parley_clients.cli.commands.permissions import uri_of
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, CommandError, UsageError, check_text, print_error
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import connect_daemon, find_chat
from parley_clients.cli.servers import describe_problems, describe_server
from parley_clients.results import Json, McpServerList
from parley_clients.sync import Client


def mcp(options: argparse.Namespace) -> int:
    """List, add, change, remove, start or authenticate servers."""
    words: list[str] = options.words
    if options.action == "list":
        if words:
            raise UsageError("list takes no words. --chat ID and --root FOLDER say whose servers.")
    elif not words:
        raise UsageError(f"{options.action} takes the name of a server, from parley mcp list.")
    elif options.action != "add" and options.action != "update" and len(words) > 1:
        raise UsageError(f"{options.action} takes one name.")
    with connect_daemon(options) as client:
        where = _where(client, options)
        match options.action:
            case "list":
                return _show(client.mcp.list(**where), options)
            case "add":
                return _add(client, options)
            case "update":
                return _update(client, options)
            case "remove":
                client.mcp.remove(words[0])
                return 0
            case "restart":
                return _show(client.mcp.restart(words[0], **where), options, words[0])
            case _:
                return _authenticate(client, options, where)


def _add(client: Client, options: argparse.Namespace) -> int:
    name, *command = options.words
    if bool(command) == (options.url is not None):
        raise UsageError("Give a command after --, or --url, such as: add files -- npx -y some-server ~/work")
    added = client.mcp.add(
        name,
        command[0] if command else None,
        command[1:],
        env=_values(options.env, _from_environment) or None,
        headers=_values(options.headers, _from_terminal) or None,
        cwd=options.cwd,
        url=options.url,
        scope=_scope(client, options),
    )
    return _show(added, options, name)


def _update(client: Client, options: argparse.Namespace) -> int:
    name, *command = options.words
    env: Json = {**_values(options.env, _from_environment), **dict.fromkeys(options.no_env)}
    headers: Json = {**_values(options.headers, _from_terminal), **dict.fromkeys(options.no_headers)}
    changes: dict[str, Any] = {}
    if command:
        changes |= {"command": command[0], "args": command[1:], "url": None}
    if options.url is not None:
        changes |= {"command": None, "args": None, "url": options.url}
    for key, value in (("env", env), ("headers", headers), ("cwd", options.cwd)):
        if value:
            changes[key] = value
    scope = _scope(client, options)
    if scope is not None:
        changes["scope"] = scope
    if not changes:
        raise UsageError("What to change? Give a command after --, or --url, --env, --header, --cwd, --root.")
    return _show(client.mcp.update(name, **changes), options, name)


def _authenticate(client: Client, options: argparse.Namespace, where: Any) -> int:
    raw = client.mcp.authenticate(options.words[0], **where).raw
    if options.json:
        print_json(raw)
        return 0
    sys.stdout.write(f"{one_line(raw['url'])}\n")
    if sys.stdout.isatty():
        sys.stderr.write("Open this page in a browser, on the machine of the daemon.\n")
    return 0


def _show(listed: McpServerList, options: argparse.Namespace, name: str | None = None) -> int:
    """Print the servers, or the one of this name; return the exit code."""
    if options.json:
        print_json(listed.raw)
        return 0
    if listed.raw["problem"]:
        print_error(listed.raw["problem"])
    for complaint in listed.raw["complaints"]:
        print_error(f"{complaint['path']}: {complaint['problem']}")
    shown = [one for one in listed.servers if name in (None, one["name"])]
    for server in shown:
        sys.stdout.write(f"{describe_server(server)}\n")
        sys.stdout.write("".join([f"    {line}\n" for line in describe_problems(server)]))
    is_failed = name is not None and any(one["state"] == "failed" for one in shown)
    return EXIT_FAILURE if is_failed else 0


def _where(client: Client, options: argparse.Namespace) -> Any:
    """Return the chat or the folder that a request is about."""
    if options.action in ("add", "update"):
        return {}
    if options.chat is not None:
        return {"chat_id": find_chat(client, options.chat)}
    return {} if options.root is None else {"root": uri_of(options.root)}


def _scope(client: Client, options: argparse.Namespace) -> Json | None:
    if options.chat is not None:
        return {"chatId": find_chat(client, options.chat)}
    return None if options.root is None else {"root": uri_of(options.root)}


def _values(given: list[str], find: Any) -> dict[str, str]:
    """Return variables or headers, from words such as NAME=VALUE, or NAME alone."""
    values: dict[str, str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        values[name] = check_text(value if equals else find(name), "The value")
    return values


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise CommandError(f"There is no variable {one_line(name)} here. Set it, or use --env NAME=VALUE.")
    return value


def _from_terminal(name: str) -> str:
    value = getpass.getpass(f"{one_line(name)}: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not value.strip():
        raise CommandError(f"The value of {one_line(name)} is empty.")
    return value.strip()
