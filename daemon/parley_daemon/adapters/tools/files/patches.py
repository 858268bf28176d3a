"""The patch format of apply_patch: what a patch says, and what it makes of a text.

A patch has a section for each file. Hunks of an update are found by their lines, not by numbers: the lines
that are kept and removed have to be in the file, one after the other, exactly once behind the hunk before.
Lines behind `@@` name a line above the hunk, where they are not unique. Line ends do not count, and are kept.
"""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from parley_daemon.adapters.tools.files.matching import describe_nearest
from parley_daemon.adapters.tools.files.texts import line_end_of, lines_of
from parley_daemon.core.comparing import with_line_feeds

FORMAT = """\
*** Begin Patch
*** Update File: src/a.py
*** Move to: src/b.py
@@ def f():
 a line that is kept
-a line that is removed
+a line that is added
*** Add File: src/new.py
+the first line
*** Delete File: src/old.py
*** End Patch"""

_SECTION = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
_MOVE = "*** Move to: "
_END_OF_FILE = "*** End of File"


class PatchError(Exception):
    """The patch cannot be read, or does not fit. The message is a sentence for the model."""


class Hunk(msgspec.Struct, gc=False):
    """Lines of an update, each with its mark (blank, "-" or "+"). `anchors` are lines above it, in order."""

    anchors: list[str]
    lines: list[tuple[str, str]]
    is_at_end: bool = False


class Section(msgspec.Struct, gc=False):
    """What a patch does with one file. `text` is that of a file that is added."""

    kind: Literal["Add", "Update", "Delete"]
    path: str
    move_to: str | None = None
    text: str = ""
    hunks: list[Hunk] = []


def parse_patch(patch: str) -> list[Section]:
    """Return the sections of a patch.

    Raises:
        PatchError: it does not have the form of FORMAT.
    """
    lines = with_line_feeds(patch).strip("\n").split("\n")
    if lines[0].strip() != "*** Begin Patch" or lines[-1].strip() != "*** End Patch":
        raise PatchError(
            f"A patch begins with *** Begin Patch and ends with *** End Patch. Its form:\n{FORMAT}"
        )
    sections: list[Section] = []
    for number, line in enumerate(lines[1:-1], 2):
        match = _SECTION.fullmatch(line.rstrip())
        if match is not None:
            kind: Literal["Add", "Update", "Delete"] = (
                "Add" if match[1] == "Add" else "Update" if match[1] == "Update" else "Delete"
            )
            sections.append(Section(kind, match[2].strip(), hunks=[]))
        elif not sections:
            raise PatchError(f"Line {number} of the patch is before the first file: {line[:100]!r}.")
        else:
            _add_line(sections[-1], line, number)
    _check(sections)
    return sections


def _add_line(section: Section, line: str, number: int) -> None:
    is_start = section.move_to is None and not section.hunks
    if section.kind == "Add" and line.startswith("+"):
        section.text += line[1:] + "\n"
    elif section.kind == "Update" and line.startswith(_MOVE) and is_start:
        section.move_to = line.removeprefix(_MOVE).strip()
    elif section.kind == "Update" and line.startswith("@@"):
        anchor = line.removeprefix("@@").strip()
        if not section.hunks or section.hunks[-1].lines:
            section.hunks.append(Hunk([], []))
        if anchor and not re.fullmatch(r"-\d+(,\d+)? \+\d+(,\d+)? @@.*", anchor):
            section.hunks[-1].anchors.append(anchor)
    elif section.kind == "Update" and line.rstrip() == _END_OF_FILE and section.hunks:
        section.hunks[-1].is_at_end = True
    elif section.kind == "Update" and (not line or line[0] in " +-"):
        if not section.hunks or section.hunks[-1].is_at_end:
            section.hunks.append(Hunk([], []))
        section.hunks[-1].lines.append((line[:1] or " ", line[1:]))
    elif line.strip():
        expected = {
            "Add": "Each line of a file that is added begins with +.",
            "Update": "A line of an update begins with a blank, - or +, or is @@.",
            "Delete": "A file that is deleted has no lines.",
        }[section.kind]
        raise PatchError(f"Line {number} of the patch cannot be read: {line[:100]!r}. {expected}")


def _check(sections: Sequence[Section]) -> None:
    if not sections:
        raise PatchError(f"The patch names no file. Its form:\n{FORMAT}")
    paths = [path for one in sections for path in (one.path, one.move_to) if path is not None]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise PatchError(f"{twice} is named twice in the patch. Put all changes of a file into one section.")
    for section in sections:
        # An empty line at the end of a section separates it from the next one.
        for hunk in section.hunks:
            while hunk.lines and hunk.lines[-1] == (" ", ""):
                hunk.lines.pop()
        section.hunks = [hunk for hunk in section.hunks if hunk.lines]
        if section.kind == "Update" and not section.hunks and section.move_to is None:
            raise PatchError(f"The update of {section.path} changes nothing.")


def patched(text: str, hunks: Sequence[Hunk]) -> str:
    """Return a text after its hunks. All lines that the patch does not name keep their bytes.

    Raises:
        PatchError: a hunk does not fit.
    """
    lines = lines_of(text)
    plain = [line.rstrip("\r\n") for line in lines]
    done: list[str] = []
    at = 0
    for number, hunk in enumerate(hunks, 1):
        begin = _find(plain, hunk, at, number)
        done += lines[at:begin]
        old_count = sum(mark != "+" for mark, _ in hunk.lines)
        line_end = line_end_of("".join(lines[begin : begin + old_count])) or line_end_of(text) or "\n"
        at = begin
        for mark, line in hunk.lines:
            if mark == "+":
                done.append(line + line_end)
            else:
                if mark == " ":
                    done.append(lines[at])
                at += 1
    done += lines[at:]
    usual = line_end_of(text) or "\n"
    done = [line if line[-1:] in ("\r", "\n") else line + usual for line in done]
    if done and text and text[-1] not in "\r\n":
        done[-1] = done[-1].rstrip("\r\n")  # the file has no line end at its end, and gets none
    return "".join(done)


def _find(lines: Sequence[str], hunk: Hunk, start: int, number: int) -> int:
    """Return where a hunk begins."""
    for anchor in hunk.anchors:
        found = next((at for at in range(start, len(lines)) if lines[at].strip() == anchor), None)
        if found is None:
            raise PatchError(f"Hunk {number}: no line behind line {start} is {anchor[:100]!r} (named by @@).")
        start = found + 1
    old = [line for mark, line in hunk.lines if mark != "+"]
    if not old:
        if hunk.anchors:
            return start
        if hunk.is_at_end or not lines:
            return len(lines)
        raise PatchError(f"Hunk {number} only adds lines: name the line above them, as kept or behind @@.")
    places = [at for at in range(start, len(lines) - len(old) + 1) if lines[at : at + len(old)] == old]
    if hunk.is_at_end:
        places = [at for at in places if at + len(old) == len(lines)]
    if not places:
        raise PatchError(f"Hunk {number}: {describe_nearest(chr(10).join(lines), chr(10).join(old))}")
    if len(places) > 1 and not hunk.anchors:
        shown = ", ".join(str(at + 1) for at in places[:10])
        raise PatchError(
            f"Hunk {number} fits at the lines {shown}. Give more lines around it, or name one by @@."
        )
    return places[0]
