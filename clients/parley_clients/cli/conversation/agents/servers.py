"""The commands of `parley chat` about MCP servers and about the child chats that the model has started."""

from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import message_text, one_line
from parley_clients.cli.servers import describe_child, describe_problems, describe_server
from parley_clients.cli.steps import last_lines, visible_line
from parley_clients.results import Child, Json, McpServerList

_SHOWN_LINES = 20


def mcp(context: Context, argument: str) -> Outcome:
    """List the servers of the chat, start one now, or begin its authorization."""
    match argument.split():
        case []:
            return Show(_describe(context.client.mcp.list(context.chat.id)))
        case ["restart", name]:
            listed = context.client.mcp.restart(name, chat_id=context.chat.id)
            return Show(_describe(listed, name))
        case ["auth", name]:
            raw: Json = context.client.mcp.authenticate(name, chat_id=context.chat.id).raw
            return Show(f"Open this page in a browser, on the machine of the daemon:\n{one_line(raw['url'])}")
        case _:
            raise UsageError("Use /mcp, /mcp restart NAME or /mcp auth NAME. parley mcp add adds a server.")


def _describe(listed: McpServerList, name: str | None = None) -> str:
    lines = [visible_line(listed.raw["problem"])] if listed.raw["problem"] else []
    lines += [
        f"{visible_line(one['path'])}: {visible_line(one['problem'])}" for one in listed.raw["complaints"]
    ]
    for server in listed.servers:
        if name in (None, server["name"]):
            lines += [describe_server(server), *[f"    {line}" for line in describe_problems(server)]]
    if any(server["state"] == "untrusted" for server in listed.servers):
        lines.append("/trust shows the file of a project that waits for trust.")
    return "\n".join(lines) or "There are no MCP servers. `parley mcp add` adds one, docs/mcp.md says how."


def agents(context: Context, argument: str) -> Outcome:
    """List the child chats that the model has started, show one, or stop one or all."""
    words = argument.split()
    children = context.chat.children()
    match words:
        case []:
            return Show(_describe_family(context, children))
        case ["stop", "all"]:
            context.chat.interrupt(children=True)
            return Show(_describe_family(context, context.chat.children()))
        case ["stop", id]:
            context.client.chat(_find(children, id).id).interrupt()
            return Show(_describe_family(context, context.chat.children()))
        case [id] if id != "stop":
            return Show(_describe_child(context, _find(children, id)))
        case _:
            raise UsageError("Use /agents, /agents ID, /agents stop ID or /agents stop all.")


def _describe_family(context: Context, children: list[Child]) -> str:
    record: Json = context.chat.get(limit=1).raw["chat"]
    lines = [describe_child(child) for child in children]
    if record["parentChatId"] is not None:
        lines.append(f"This chat works for another one: /open {one_line(record['parentChatId'])}")
    if not lines:
        return "The model has started no agents in this chat."
    cost = record["usageTree"].get("costUsd")
    if cost is not None and children:
        lines.append(f"This chat with its agents: ${cost:.4f}")
    if children:
        lines.append("/agents ID shows its last words, /open ID opens it, /agents stop ID stops it.")
    return "\n".join(lines)


def _describe_child(context: Context, child: Child) -> str:
    messages = context.client.chat(child.id).get(limit=5).messages
    said = [message for message in messages if message["role"] == "assistant"]
    text = message_text(said[-1]) if said else "It has said nothing yet."
    return "\n".join([describe_child(child), *[f"  {line}" for line in last_lines(text, _SHOWN_LINES)]])


def _find(children: list[Child], part: str) -> Child:
    found = [
        child
        for child in children
        if child.id == part or (len(part) >= 4 and (child.id.startswith(part) or child.id.endswith(part)))
    ]
    if len(found) != 1:
        raise CommandError(f"{len(found) or 'No'} agents of this chat have the id {one_line(part)}.")
    return found[0]
