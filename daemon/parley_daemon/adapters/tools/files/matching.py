"""Where the old text of an edit lies in a file, and what replaces it.

Theory of operation. The text has to be there exactly. If it is not, two differences are looked through that
models make without meaning them: other line ends, and another indentation of whole lines. Either counts only
if it gives exactly one place, and the result says so. Nothing else is guessed: a text that is only similar is
an error, which shows the most similar lines.
"""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

from parley_daemon.adapters.tools.files.texts import count_lines, line_end_of, lines_of
from parley_daemon.core.comparing import with_line_feeds

SHOWN_LINES = 12
"""Lines that an error shows at most."""

SHOWN_LINE = 300
"""Characters of a shown line."""

COMPARED_LINES = 5_000
"""Lines of a file that are compared for similarity, at most."""


SHOWN_PLACES = 20
"""Places whose lines are named."""

_MAX_PLACES = 10


class NoMatchError(Exception):
    """The text cannot be replaced. The message is written for the model."""


class Replaced(NamedTuple):
    """A text after its replacement at `number` places. The result says `note`.

    `lines` are the numbers of the lines at which the first SHOWN_PLACES of them begin.
    """

    text: str
    lines: list[int]
    note: str | None = None
    number: int = 1


def replace(text: str, old: str, new: str, *, replace_all: bool) -> Replaced:
    """Return a text with `old` replaced by `new`.

    Raises:
        NoMatchError: the place is not clear.
    """
    if not old.strip():
        raise NoMatchError("oldText is blank. Give the lines that are to be replaced.")
    if old == new:
        raise NoMatchError("oldText and newText are equal: nothing would change.")
    places = _places(text, old)
    if len(places) == 1 or (places and replace_all):
        shown = [_line_at(text, at) for at in places[:SHOWN_PLACES]]
        return Replaced(text.replace(old, new), shown, number=len(places))
    if places:
        raise NoMatchError(_say_where(text, places))
    return _with_other_line_ends(text, old, new, replace_all=replace_all) or _with_other_indentation(
        text, old, new
    )


def _places(text: str, old: str) -> list[int]:
    places: list[int] = []
    at = text.find(old)
    while at >= 0:
        places.append(at)
        at = text.find(old, at + len(old))
    return places


def _line_at(text: str, at: int) -> int:
    return count_lines(text[:at]) + (at == 0 or text[at - 1] in "\r\n")


def _say_where(text: str, places: Sequence[int]) -> str:
    shown = ", ".join(str(_line_at(text, at)) for at in places[:10])
    return (
        f"oldText is there {len(places)} times, at the lines {shown}{'…' if len(places) > 10 else ''}. "
        "Give more lines around it, or set replaceAll."
    )


def _with_other_line_ends(text: str, old: str, new: str, *, replace_all: bool) -> Replaced | None:
    """Replace what differs from `old` only in its line ends."""
    plain, wanted = with_line_feeds(text), with_line_feeds(old)
    if plain == text and wanted == old:
        return None
    places = _places(plain, wanted)
    if not places:
        return None
    if len(places) > 1 and not replace_all:
        raise NoMatchError(_say_where(plain, places))
    offsets = _offsets_of_plain(text)
    done: list[str] = []
    last = 0
    for at in places:
        begin, end = offsets(at), offsets(at + len(wanted))
        # What is replaced tells how lines end here; in a single line, the whole file does.
        line_end = line_end_of(text[begin:end]) or line_end_of(text) or "\n"
        done += [text[last:begin], with_line_feeds(new).replace("\n", line_end)]
        last = end
    replaced = "".join([*done, text[last:]])
    return Replaced(
        replaced,
        [_line_at(plain, at) for at in places[:SHOWN_PLACES]],
        "oldText had other line ends; those of the file are kept",
        len(places),
    )


class _offsets_of_plain:  # noqa: N801 - used as a function
    """Offsets in a text by those in the same text with line feeds only, for growing offsets."""

    def __init__(self, text: str) -> None:
        self._text, self._plain, self._at = text, 0, 0

    def __call__(self, plain: int) -> int:
        text = self._text
        while self._plain < plain:
            end = text.find("\r\n", self._at)
            step = plain - self._plain
            if end < 0 or end - self._at >= step:
                self._plain, self._at = plain, self._at + step
            else:
                self._plain, self._at = self._plain + (end - self._at) + 1, end + 2
        return self._at


def _with_other_indentation(text: str, old: str, new: str) -> Replaced:
    """Replace whole lines that differ from those of `old` only in what they begin with.

    Raises:
        NoMatchError: there is not exactly one such place, or the lines of `new` cannot be indented like it.
    """
    lines, wanted = lines_of(text), with_line_feeds(old).removesuffix("\n").split("\n")
    stripped, target = [line.strip() for line in lines], [line.strip() for line in wanted]
    places = _find_lines(stripped, target)
    if len(places) != 1:
        raise NoMatchError(_show_nearest(lines, stripped, target, places))
    (at,) = places
    here = lines[at : at + len(wanted)]
    indentation = _indentation(wanted, here)
    if indentation is None:
        raise NoMatchError(_show_nearest(lines, stripped, target, places))
    line_end = line_end_of("".join(here)) or line_end_of(text) or "\n"
    written = [_indent(line, indentation) for line in with_line_feeds(new).removesuffix("\n").split("\n")]
    if None in written:
        raise NoMatchError(_show_nearest(lines, stripped, target, places))
    last_end = here[-1][len(here[-1].rstrip("\r\n")) :]
    joined = line_end.join([line or "" for line in written]) + last_end if new else ""
    replaced = "".join([*lines[:at], joined, *lines[at + len(wanted) :]])
    if replaced == text:
        raise NoMatchError("With the indentation of the file, oldText and newText are equal.")
    return Replaced(replaced, [at + 1], "oldText had another indentation; that of the file is kept")


def _find_lines(lines: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return the first places where some lines are: as a text, so that equal lines take no quadratic time."""
    text, sought = "\n".join(["", *lines, ""]), "\n".join(["", *wanted, ""])
    places: list[int] = []
    at, line, counted = text.find(sought), 0, 0
    while at >= 0 and len(places) <= _MAX_PLACES:
        line, counted = line + text.count("\n", counted, at), at
        places.append(line)
        at = text.find(sought, at + 1)
    return places


def _indentation(wanted: Sequence[str], here: Sequence[str]) -> dict[str, str] | None:
    """Return what lines begin with in the file, by what they begin with in `oldText`; None: not clear."""
    found: dict[str, str] = {}
    for asked, real in zip(wanted, here, strict=True):
        if not asked.strip():
            continue
        if found.setdefault(_blanks(asked), _blanks(real)) != _blanks(real):
            return None
    return found


def _blanks(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _indent(line: str, indentation: dict[str, str]) -> str | None:
    """Return a line indented as the file is: like the line of `oldText` with the nearest indentation."""
    if not line.strip():
        return ""
    blanks = _blanks(line)
    known = max((one for one in indentation if blanks.startswith(one)), key=len, default=None)
    if known is not None:
        return indentation[known] + line[len(known) :]
    # Less than all lines of `oldText`: the same number of characters less than the least of them.
    least = min(indentation, key=len)
    missing = len(least) - len(blanks)
    real = indentation[least]
    return real[: len(real) - missing] + line.lstrip() if 0 < missing <= len(real) else None


def describe_nearest(text: str, old: str) -> str:
    """Return that a text is not there, with the lines that are most like it."""
    lines = lines_of(text)
    wanted = [line.strip() for line in with_line_feeds(old).split("\n")]
    return _show_nearest(lines, [line.strip() for line in lines], wanted, ()).replace(
        "oldText", "What it replaces"
    )


def _show_nearest(
    lines: Sequence[str], stripped: Sequence[str], wanted: Sequence[str], places: Sequence[int]
) -> str:
    """Return that the text is not there, with the lines that are most like it."""
    if len(places) > 1:
        shown = ", ".join(str(at + 1) for at in places[:10])
        where = f"with another indentation it is at the lines {shown}"
        return f"oldText is not there exactly; {where}. Copy one exactly."
    at = places[0] if places else _nearest(stripped, wanted)
    if at is None:
        return "oldText is not in the file, and no line is like it. Read the file again."
    count = min(len(wanted), SHOWN_LINES)
    nearest = [line.rstrip("\r\n")[:SHOWN_LINE] for line in lines[at : at + count]]
    numbered = "\n".join(f"{at + number}: {line}" for number, line in enumerate(nearest, 1))
    return f"oldText is not in the file. The nearest lines, with their numbers, are:\n{numbered}"


def _nearest(stripped: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Return where the lines begin that are most like `wanted`."""
    votes: dict[int, int] = {}
    places: dict[str, list[int]] = {}
    for number, line in enumerate(stripped):
        if line:
            places.setdefault(line, []).append(number)
    for offset, line in enumerate(wanted):
        for number in places.get(line, [])[:100] if len(line) > 2 else ():
            votes[number - offset] = votes.get(number - offset, 0) + 1
    if votes:
        return max(max(votes, key=lambda at: (votes[at], -at)), 0)
    first = next((offset for offset, line in enumerate(wanted) if line), 0)
    known = [line for line in list(places)[:COMPARED_LINES] if len(line) <= SHOWN_LINE]
    alike = difflib.get_close_matches(wanted[first][:SHOWN_LINE], known, n=1, cutoff=0.5)
    return max(places[alike[0]][0] - first, 0) if alike else None
