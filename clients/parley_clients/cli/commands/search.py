"""`parley search`: finds messages by their text and chats by their titles, best match first."""

import argparse
import re
import sys

from parley_clients.cli.display.output import can_draw, make_console
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import check_text
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import connect_daemon, short_id
from parley_clients.results import SearchHit
from parley_clients.sync import Client

_PAGE_SIZE = 200


def search(options: argparse.Namespace) -> int:
    """Print the hits: chat, message, title, and the text around the match."""
    query = check_text(" ".join(options.words), "The query")
    with connect_daemon(options) as client:
        hits, has_more = _read_hits(client, query, options.limit)
    if options.json:
        for hit in hits:
            print_json(hit.raw)
        return 0
    if can_draw(options):
        _draw(options, query, hits)
    else:
        for hit in hits:
            sys.stdout.write("\t".join(_fields(hit)) + "\n")
    if has_more:
        sys.stderr.write("There are more hits: use --limit.\n")
    return 0


def _read_hits(client: Client, query: str, limit: int) -> tuple[list[SearchHit], bool]:
    hits: list[SearchHit] = []
    cursor: str | None = None
    while len(hits) < limit:
        page = client.search(query, cursor=cursor, limit=min(limit - len(hits), _PAGE_SIZE))
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

    console = make_console(options)
    if not hits:
        console.print(Text("No hits.", style="dim"))
    words = re.findall(r"\w+", query)
    for hit in hits:
        chat, message, title, snippet = _fields(hit)
        where = f"  message {message}" if message else ""
        console.print(
            Text.assemble((chat, "cyan"), "  ", title, (where, "dim")), no_wrap=True, overflow="ellipsis"
        )
        if message:
            text = Text(snippet)
            text.highlight_words(words, "bold yellow", case_sensitive=False)
            console.print(Padding(text, (0, 0, 0, 10)))
