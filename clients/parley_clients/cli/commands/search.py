"""`parley search`: messages by their text and chats by their titles, best first."""

import argparse
import re
import sys

from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import one_line
from parley_clients.cli.options import check_text, client, console, fancy, short_id
from parley_clients.results import SearchHit
from parley_clients.sync import Client

_PAGE = 200


def search(options: argparse.Namespace) -> int:
    """Print what is found: chat, message, title, and the text around it."""
    query = check_text(" ".join(options.words), "The query")
    with client(options) as daemon:
        hits, there_is_more = _found(daemon, query, options.limit)
    if options.json:
        for hit in hits:
            write_json(hit.raw)
        return 0
    if fancy(options):
        _draw(options, query, hits)
    else:
        for hit in hits:
            sys.stdout.write("\t".join(_fields(hit)) + "\n")
    if there_is_more:
        sys.stderr.write("… and more; see --limit.\n")
    return 0


def _found(daemon: Client, query: str, limit: int) -> tuple[list[SearchHit], bool]:
    hits: list[SearchHit] = []
    cursor: str | None = None
    while len(hits) < limit:
        page = daemon.search(query, cursor=cursor, limit=min(limit - len(hits), _PAGE))
        hits += page.hits
        cursor = page.next_cursor
        if cursor is None:
            break
    return hits, cursor is not None


def _fields(hit: SearchHit) -> tuple[str, str, str, str]:
    message = "" if hit.message_id is None else str(hit.message_id)
    return short_id(hit.chat_id), message, one_line(hit.title or "(untitled)"), one_line(hit.snippet)


def _draw(options: argparse.Namespace, query: str, hits: list[SearchHit]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    screen = console(options)
    if not hits:
        screen.print(Text("Nothing was found.", style="dim"))
    words = re.findall(r"\w+", query)
    for hit in hits:
        chat, message, title, snippet = _fields(hit)
        where = f"  message {message}" if message else ""
        screen.print(
            Text.assemble((chat, "cyan"), "  ", title, (where, "dim")), no_wrap=True, overflow="ellipsis"
        )
        if message:
            text = Text(snippet)
            text.highlight_words(words, "bold yellow", case_sensitive=False)
            screen.print(Padding(text, (0, 0, 0, 10)))
