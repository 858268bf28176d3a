"""`parley show`: all that was said in a chat."""

import argparse
import sys

from parley_clients.cli.commands.listing import one_line_title
from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import clean
from parley_clients.cli.messages import conversation, readable
from parley_clients.cli.options import client, console, fancy, find_chat
from parley_clients.results import Json
from parley_clients.sync import Chat


def show(options: argparse.Namespace) -> int:
    """Print all that was said in a chat."""
    with client(options) as daemon:
        whole = _whole(daemon.chat(find_chat(daemon, options.id)))
    if options.json:
        write_json(whole)
    else:
        print_conversation(whole, options)
    return 0


def _whole(chat: Chat) -> Json:
    newest = page = chat.get(limit=200)
    messages = newest.messages
    while page.has_more:
        page = chat.get(limit=200, before_message_id=messages[0]["id"])
        messages = page.messages + messages
    return {**newest.raw, "messages": messages, "hasMore": False}


def print_conversation(whole: Json, options: argparse.Namespace) -> None:
    """Print the result of `chat/get`: drawn on a terminal, else as Markdown."""
    if fancy(options):
        _draw(whole, options)
        return
    sys.stdout.write(f"# {one_line_title(whole['chat'])}\n")
    for who, parts in conversation(whole, ids=getattr(options, "ids", False)):
        sys.stdout.write(f"\n## {who}\n\n{readable(parts)}\n")


def _draw(whole: Json, options: argparse.Namespace) -> None:
    from rich.text import Text

    from parley_clients.cli.display.blocks import BlockCutter
    from parley_clients.cli.display.markdown import RenderedBlock

    screen, chat = console(options), whole["chat"]
    screen.print(Text(one_line_title(chat), style="bold"))
    screen.print(Text(f"{chat['id']} · {chat['createdAt'][:16].replace('T', ' ')} UTC", style="dim"))
    if whole["hasMore"]:
        screen.print(Text(f"earlier messages: parley show {chat['id'][-8:]}", style="dim"))
    for who, parts in conversation(whole, ids=getattr(options, "ids", False)):
        screen.print()
        screen.print(Text(who, style="bold cyan" if who.startswith("You") else "bold green"))
        thoughts = clean("".join(part["text"] for part in parts if part["type"] == "reasoning")).strip()
        if thoughts:
            screen.print(Text(thoughts, style="dim italic"))
            screen.print()
        cutter = BlockCutter()
        for number, block in enumerate([*cutter.feed(readable(parts)), *cutter.finish()]):
            if number and not block.goes_on:
                screen.print()
            screen.print(RenderedBlock(block))
