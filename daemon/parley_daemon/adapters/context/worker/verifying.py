"""Finds a passage again in a text that has changed since."""

from collections.abc import Sequence

import msgspec

from parley_daemon.adapters.context.worker.sources.chunking import split_lines
from parley_daemon.ports.context import Passage


def find_again(passage: Passage, text: str, content_hash: str) -> Passage | None:
    """Return a passage with the lines in which its text is now, the nearest if it is there repeatedly.

    None: it is not there as it was.
    """
    lines = split_lines(text)
    wanted = passage.text.split("\n")
    old = passage.start_line - 1
    places = _places(lines, wanted)
    if not places:
        return None
    at = min(places, key=lambda place: abs(place - old))
    return msgspec.structs.replace(
        passage, start_line=at + 1, end_line=at + len(wanted), content_hash=content_hash
    )


def _places(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where lines begin that are equal to the wanted ones.

    All occurrences of the longest wanted line are looked at, since it is the rarest one probably.
    """
    longest = max(range(len(wanted)), key=lambda number: len(wanted[number]))
    found: list[int] = []
    for number, line in enumerate(lines):
        at = number - longest
        if line == wanted[longest] and at >= 0 and list(lines[at : at + len(wanted)]) == list(wanted):
            found.append(at)
            if len(found) == 100:
                break
    return found
