"""MCP servers and child chats in words, for the commands of the shell and of a conversation."""

import shlex
from collections.abc import Iterable, Iterator

from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import visible_line
from parley_clients.results import Child, Json

_STATES = {
    "configured": "not started yet",
    "known": "not running",
    "untrusted": "waits for trust",
    "needs_auth": "needs authorization",
}

_TITLE = 40


def describe_state(server: Json) -> str:
    """Return what has become of a server."""
    return _STATES.get(server["state"], str(server["state"]))


def describe_server(server: Json) -> str:
    """Return one line about a server: its state, what it offers, where it comes from, how it is reached."""
    tools = server["tools"]
    facts = [describe_state(server)]
    if tools is not None:
        facts.append(f"{tools} tool{'' if tools == 1 else 's'}")
    if server["calls"]:
        facts.append(f"{server['calls']} calls")
    if server["source"] != "user":
        facts.append("from the configuration file" if server["source"] == "config" else "of a project")
    return f"{one_line(server['name'])}  {', '.join(facts)}  {describe_target(server)}"


def describe_target(server: Json) -> str:
    """Return how a server is reached."""
    return visible_line(server["url"] or shlex.join(server["command"] or ()))


def describe_problems(server: Json) -> Iterator[str]:
    """Yield lines about what is wrong with a server, and what to do."""
    if server["error"]:
        yield visible_line(server["error"])
    if server["nextTryAt"]:
        yield f"It is tried again when it is needed, not before {one_line(server['nextTryAt'])}."
    if server["noise"]:
        yield f"It wrote {server['noise']} lines that are no messages of MCP."
    for tool in server["setAside"]:
        yield f"The tool {visible_line(tool['name'])} is not used: {visible_line(tool['reason'])}"


def project_files(servers: Iterable[Json]) -> list[Json]:
    """Return the files `.mcp.json` that name servers of projects, as what a person can trust.

    Each has its folder (`root`), its `uri`, its `hash`, whether it is `trusted`, and its servers as `text`.
    """
    files: dict[str, Json] = {}
    for server in servers:
        root, hash = server["root"], server["hash"]
        if root is None or hash is None:
            continue
        uri = f"{root.rstrip('/')}/.mcp.json"
        new: Json = {"root": root, "uri": uri, "hash": hash, "trusted": True, "text": ""}
        file = files.setdefault(uri, new)
        file["trusted"] = file["trusted"] and server["state"] != "untrusted"
        file["text"] += f"  {server['name']}: {describe_target(server)}\n"
    return list(files.values())


def describe_child(child: Child) -> str:
    """Return one line about a child chat."""
    usage = child.raw["usage"]
    cost = "" if child.cost_usd is None else f"  ${child.cost_usd:.4f}"
    tokens = (usage.get("inputTokens") or 0) + (usage.get("outputTokens") or 0)
    title = visible_line(child.title or "no title yet")
    title = title if len(title) <= _TITLE else f"{title[:_TITLE]}…"
    return f"{child.id[-8:]}  {child.status:<11}  {tokens:>7,} tokens{cost}  {title}"
