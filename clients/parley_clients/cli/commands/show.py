"""`parley show`: prints the messages of a chat."""

import argparse
import sys
from collections.abc import Sequence

from parley_clients.cli.commands.listing import one_line_title
from parley_clients.cli.display.output import can_draw, make_console
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import UsageError
from parley_clients.cli.messages import escape_controls, parts_as_markdown, transcript
from parley_clients.cli.options import chat_and_rest, connect_daemon, find_chat, find_last_chat
from parley_clients.cli.steps import steps_as_text
from parley_clients.results import Json
from parley_clients.sync import Chat


def show(options: argparse.Namespace) -> int:
    """Print all messages of the active branch."""
    id, rest = chat_and_rest(options)
    if rest:
        raise UsageError("Give the id of a chat or --last, not both.")
    with connect_daemon(options) as client:
        chat_id = find_last_chat(client) if id is None else find_chat(client, id)
        snapshot = _read_all_messages(client.chat(chat_id), None if options.json else _SHOWN)
    if options.json:
        print_json(snapshot)
    else:
        print_snapshot(snapshot, options)
    return 0


_SHOWN = ("text", "reasoning", "tool-call", "tool-result")
"""The types of parts whose text is printed. The data of files are not."""


def _read_all_messages(chat: Chat, types: Sequence[str] | None) -> Json:
    newest = page = chat.get(limit=200)
    messages = newest.messages
    while page.has_more:
        page = chat.get(limit=200, before_message_id=messages[0]["id"])
        messages = page.messages + messages
    messages = [
        chat.whole(message, types=types) if any(part.get("ref") for part in message["content"]) else message
        for message in messages
    ]
    return {**newest.raw, "messages": messages, "hasMore": False}


def print_snapshot(snapshot: Json, options: argparse.Namespace) -> None:
    """Print a result of `chat/get`: drawn on a terminal, else as Markdown."""
    if can_draw(options):
        _draw(snapshot, options)
        return
    sys.stdout.write(f"# {one_line_title(snapshot['chat'])}\n")
    for author, parts in transcript(snapshot, ids=getattr(options, "ids", False)):
        sys.stdout.write(f"\n## {author}\n\n{parts_as_markdown(steps_as_text(parts))}\n")


def _draw(snapshot: Json, options: argparse.Namespace) -> None:
    from rich.text import Text

    from parley_clients.cli.display.blocks import BlockCutter
    from parley_clients.cli.display.markdown import RenderedBlock

    console, chat = make_console(options), snapshot["chat"]
    console.print(Text(one_line_title(chat), style="bold"))
    console.print(Text(f"{chat['id']} · {chat['createdAt'][:16].replace('T', ' ')} UTC", style="dim"))
    if snapshot["hasMore"]:
        console.print(Text(f"earlier messages: parley show {chat['id'][-8:]}", style="dim"))
    for author, parts in transcript(snapshot, ids=getattr(options, "ids", False)):
        console.print()
        console.print(Text(author, style="bold cyan" if author.startswith("You") else "bold green"))
        reasoning = escape_controls(
            "".join(part["text"] for part in parts if part["type"] == "reasoning")
        ).strip()
        if reasoning:
            console.print(Text(reasoning, style="dim italic"))
            console.print()
        cutter = BlockCutter()
        for number, block in enumerate(
            [*cutter.feed(parts_as_markdown(steps_as_text(parts))), *cutter.finish()]
        ):
            if number and not block.continues:
                console.print()
            console.print(RenderedBlock(block), crop=False)
