"""`parley list`, `models`, `status` and `delete`: what the daemon has, printed once."""

import argparse
import sys
from datetime import UTC, datetime
from itertools import islice

from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import clean, one_line
from parley_clients.cli.options import SHORT_ID, client, console, fancy, find_chat, short_id, warn
from parley_clients.results import Json

_NARROW = 70


def list_chats(options: argparse.Namespace) -> int:
    """Print chats, the last used first."""
    archived = True if options.archived else None
    with client(options) as daemon:
        found = daemon.all_chats(query=options.query, archived=archived)
        chats = [record.raw for record in islice(found, options.limit)]
        total = daemon.list_chats(query=options.query, archived=archived, limit=1).total
    if options.json:
        for chat in chats:
            write_json(chat)
    elif fancy(options):
        print_chats(options, chats)
    else:
        for chat in chats:
            fields = (short_id(chat["id"]), chat["updatedAt"], chat["status"], one_line_title(chat))
            sys.stdout.write("\t".join(fields) + "\n")
    if total > len(chats) and not options.json:
        sys.stderr.write(f"… and {total - len(chats)} more; see --limit.\n")
    return 0


def print_chats(options: argparse.Namespace, chats: list[Json]) -> None:
    """Print chats as a table on the terminal."""
    from rich.table import Table
    from rich.text import Text

    screen = console(options)
    if not chats:
        screen.print(Text("No chats.", style="dim"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    states = [_state(chat) for chat in chats]
    table.add_column("id", style="cyan", no_wrap=True, min_width=SHORT_ID)
    table.add_column("used", style="dim", no_wrap=True, min_width=6)
    table.add_column("title", no_wrap=True, overflow="ellipsis", ratio=1)
    if screen.width >= _NARROW:
        table.add_column("model", style="dim", no_wrap=True, overflow="ellipsis", max_width=30)
    if any(states):
        table.add_column("", no_wrap=True)
    now = datetime.now(UTC)
    for chat, state in zip(chats, states, strict=True):
        row = [short_id(chat["id"]), ago(chat["updatedAt"], now), Text(one_line_title(chat))]
        if screen.width >= _NARROW:
            row.append(Text(one_line(chat["model"] or "")))
        table.add_row(*row, *([state] if any(states) else []))
    screen.print(table)


def _state(chat: Json) -> str:
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


def ago(then: str, now: datetime) -> str:
    """Say how long ago a time was, roughly; its date when that is longer than a month."""
    seconds = max(0.0, (now - datetime.fromisoformat(then)).total_seconds())
    for size, unit, most in ((60, "min", 60), (3600, "h", 24), (86400, "d", 31)):
        if seconds < 60:
            return "now"
        if seconds < size * most:
            return f"{int(seconds // size)} {unit}"
    return then[:10]


def models(options: argparse.Namespace) -> int:
    """Print the providers and their models, or those models that have certain words in their names."""
    with client(options) as daemon:
        raw = daemon.models().raw
    words = [word.casefold() for word in options.words]
    for provider in raw["providers"]:
        provider["models"] = [one for one in provider["models"] if _has(one, words)]
    if options.json:
        write_json(raw)
        return 0
    for provider in raw["providers"]:
        for model in provider["models"]:
            note = "" if provider["available"] else f"\t({_why(provider)})"
            sys.stdout.write(f"{one_line(model['id'])}\t{one_line(model['displayName'])}{note}\n")
        if not provider["models"] and not words:
            note = "any model of it" if provider["available"] else _why(provider)
            name, shown = one_line(provider["provider"]), one_line(provider["displayName"])
            sys.stdout.write(f"{name}:…\t{shown}\t({note})\n")
    if raw.get("complaint"):
        warn(f"The configuration is broken: {raw['complaint']}")
    return 0


def _has(model: Json, words: list[str]) -> bool:
    name = f"{model['id']} {model['displayName']}".casefold()
    return all(word in name for word in words)


def _why(provider: Json) -> str:
    reason = str(provider["unavailableReason"] or "unavailable").replace("_", " ")
    return one_line(provider.get("unavailableMessage") or reason)


def status(options: argparse.Namespace) -> int:
    """Print what the running daemon says of itself. Starts none."""
    with client(options, start=False) as daemon:
        raw = daemon.status().raw
    if options.json:
        write_json(raw)
        return 0
    since, store = ago(raw["startedAt"], datetime.now(UTC)), raw["store"]
    numbers = ((raw["clients"], "client"), (raw["chats"], "chat"), (raw["runningTurns"], "running turn"))
    counts = ", ".join([f"{number} {name}{'' if number == 1 else 's'}" for number, name in numbers])
    lines = [f"parleyd {raw['version']}, pid {raw['pid']}, up {since}", counts]
    if raw["memoryBytes"] is not None:
        lines.append(f"{raw['memoryBytes'] / 1e6:.0f} MB of memory")
    lines.append(f"{store['kind']} store {store['path'] or ''}".rstrip())
    if store["error"]:
        lines.append(f"the store has a problem: {store['error']}")
    configuration: Json = raw.get("configuration") or {}  # an older daemon does not say
    if configuration.get("error"):
        lines.append(f"the configuration is broken: {configuration['error']}")
    sys.stdout.write(clean("\n".join(lines)) + "\n")
    return 0


def delete(options: argparse.Namespace) -> int:
    """Delete chats, after asking when somebody is there to be asked."""
    with client(options) as daemon:
        chats = [daemon.chat(find_chat(daemon, words)) for words in options.ids]
        if not options.yes and sys.stdin.isatty():
            for chat in chats:
                warn(f"{short_id(chat.id)}  {one_line_title(chat.get(limit=1).raw['chat'])}")
            sys.stderr.write(f"Delete {'it' if len(chats) == 1 else 'them'} for good? [y/N] ")
            sys.stderr.flush()
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                return 1
        result = daemon.delete_chats([chat.id for chat in chats]).raw
    for error in result["errors"]:
        warn(f"{short_id(error['chatId'])}: {error['message']}")
    return 1 if result["errors"] else 0
