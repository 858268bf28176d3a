"""`parley list`, `models` and `status`."""

import argparse
import sys
from datetime import UTC, datetime
from itertools import islice

from parley_clients.cli.commands.diff import describe_size
from parley_clients.cli.display.output import can_draw, make_console
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import print_error
from parley_clients.cli.messages import escape_controls, one_line
from parley_clients.cli.options import SHORT_ID_LENGTH, connect_daemon, short_id
from parley_clients.results import Json

_MODEL_COLUMN_WIDTH = 70
"""The width of the terminal from which on the table of chats has a column for the model."""


def list_chats(options: argparse.Namespace) -> int:
    """Print chats, last used first."""
    archived, pinned = options.archived or None, options.pinned or None
    with connect_daemon(options) as client:
        found = client.all_chats(query=options.query, archived=archived, pinned=pinned)
        chats = [record.raw for record in islice(found, options.limit)]
        total = client.list_chats(query=options.query, archived=archived, pinned=pinned, limit=1).total
    if options.json:
        for chat in chats:
            print_json(chat)
    elif can_draw(options):
        print_chats(options, chats)
    else:
        for chat in chats:
            fields = [short_id(chat["id"]), chat["updatedAt"], chat["status"], one_line_title(chat)]
            if chat.get("pinned"):
                fields.append("pinned")
            fields += filter(None, [describe_size(chat)])
            sys.stdout.write("\t".join(fields) + "\n")
    missing = total - len(chats)
    if missing > 0 and not options.json:
        number = f"{missing} more chat{'' if missing == 1 else 's'}"
        is_cut = len(chats) == options.limit
        advice = "use --limit" if is_cut else "new, or damaged; run parleyd doctor"
        sys.stderr.write(f"{number}: {advice}.\n")
    return 0


def print_chats(options: argparse.Namespace, chats: list[Json]) -> None:
    """Print chats as a table on the terminal."""
    from rich.table import Table
    from rich.text import Text

    console = make_console(options)
    if not chats:
        console.print(Text("There are no chats.", style="dim"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    states = [
        " ".join(filter(None, (_format_pin(chat), _format_status(chat), _format_size(chat))))
        for chat in chats
    ]
    table.add_column("id", style="cyan", no_wrap=True, min_width=SHORT_ID_LENGTH)
    table.add_column("used", style="dim", no_wrap=True, min_width=6)
    table.add_column("title", no_wrap=True, overflow="ellipsis", ratio=1)
    if console.width >= _MODEL_COLUMN_WIDTH:
        table.add_column("model", style="dim", no_wrap=True, overflow="ellipsis", max_width=30)
    if any(states):
        table.add_column("", no_wrap=True)
    now = datetime.now(UTC)
    for chat, state in zip(chats, states, strict=True):
        row = [short_id(chat["id"]), format_age(chat["updatedAt"], now), Text(one_line_title(chat))]
        if console.width >= _MODEL_COLUMN_WIDTH:
            row.append(Text(one_line(chat["model"] or "")))
        table.add_row(*row, *([state] if any(states) else []))
    console.print(table)


def _format_pin(chat: Json) -> str:
    return "[yellow]pinned[/]" if chat.get("pinned") else ""  # missing in older daemons


def _format_size(chat: Json) -> str:
    added, _, deleted = describe_size(chat).partition(" ")
    return f"[green]{added}[/] [red]{deleted}[/]" if added else ""


def _format_status(chat: Json) -> str:
    if chat["archived"]:
        return "[dim]archived[/]"
    match chat["status"]:
        case "waiting" | "completed":
            return ""
        case "error":
            return "[red]error[/]"
        case status:
            return f"[green]{status}[/]"


def one_line_title(chat: Json) -> str:
    """Return the title of a chat on one line."""
    return one_line(chat["title"] or "(untitled)")


def format_age(time: str, now: datetime) -> str:
    """Return how long ago a time was, in one unit; after a month, its date."""
    seconds = max(0.0, (now - datetime.fromisoformat(time)).total_seconds())
    for size, unit, limit in ((60, "min", 60), (3600, "h", 24), (86400, "d", 31)):
        if seconds < 60:
            return "now"
        if seconds < size * limit:
            return f"{int(seconds // size)} {unit}"
    return time[:10]


def list_models(options: argparse.Namespace) -> int:
    """Print the models of all providers, or those with certain words in their names."""
    with connect_daemon(options) as client:
        raw = client.models().raw
    words = [word.casefold() for word in options.words]
    for provider in raw["providers"]:
        provider["models"] = [model for model in provider["models"] if _matches(model, words)]
    if options.json:
        print_json(raw)
        return 0
    for provider in raw["providers"]:
        for model in provider["models"]:
            note = "" if provider["available"] else f"\t({_unavailable_reason(provider)})"
            sys.stdout.write(f"{one_line(model['id'])}\t{one_line(model['displayName'])}{note}\n")
        is_configured = provider["available"] or provider.get("source") != "supported"
        if not provider["models"] and not words and is_configured:
            note = "any of its models" if provider["available"] else _unavailable_reason(provider)
            name, shown = one_line(provider["provider"]), one_line(provider["displayName"])
            sys.stdout.write(f"{name}:…\t{shown}\t({note})\n")
    if raw.get("complaint"):
        print_error(f"The configuration is invalid: {raw['complaint']}")
    return 0


def _matches(model: Json, words: list[str]) -> bool:
    name = f"{model['id']} {model['displayName']}".casefold()
    return all(word in name for word in words)


def _unavailable_reason(provider: Json) -> str:
    reason = str(provider["unavailableReason"] or "unavailable").replace("_", " ")
    return one_line(provider.get("unavailableMessage") or reason)


def show_status(options: argparse.Namespace) -> int:
    """Print the status of the running daemon. Does not start it."""
    with connect_daemon(options, start=False) as client:
        raw = client.status().raw
    if options.json:
        print_json(raw)
        return 0
    uptime, store = format_age(raw["startedAt"], datetime.now(UTC)), raw["store"]
    numbers = ((raw["clients"], "client"), (raw["chats"], "chat"), (raw["runningTurns"], "running turn"))
    counts = ", ".join([f"{number} {name}{'' if number == 1 else 's'}" for number, name in numbers])
    lines = [f"parleyd {raw['version']}, pid {raw['pid']}, up {uptime}", counts]
    if raw["memoryBytes"] is not None:
        lines.append(f"{raw['memoryBytes'] / 1e6:.0f} MB of memory")
    lines.append(f"{store['kind']} store {store['path'] or ''}".rstrip())
    if store["error"]:
        lines.append(f"the store has an error: {store['error']}")
    sandbox: Json = raw.get("sandbox") or {}  # missing in older daemons
    if sandbox:
        weak = ", which does not hold for this user" if sandbox["isWeak"] else ""
        lines.append(f"sandbox {sandbox['kind']}{weak}")
    configuration: Json = raw.get("configuration") or {}  # missing in older daemons
    if configuration.get("error"):
        lines.append(f"the configuration is invalid: {configuration['error']}")
    sys.stdout.write(escape_controls("\n".join(lines)) + "\n")
    return 0
