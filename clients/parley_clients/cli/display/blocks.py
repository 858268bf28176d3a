"""Cuts Markdown that is still being written into blocks that are finished, in time linear in its length.

Knows just enough Markdown to cut it where it is safe. Renders nothing.
"""

import re
from dataclasses import dataclass

LONGEST_BLOCK = 40
"""Lines after which a block of code or a list is cut though it goes on: what is unfinished is rendered over
and over, so it must stay short."""

_FENCE = re.compile(r"( *)(`{3,}|~{3,})(.*)")
_ITEM = re.compile(r" {0,3}([-*+]|\d{1,9}[.)])( |$)")
_HEADING = re.compile(r" {0,3}#{1,6}( |$)")


@dataclass(frozen=True, slots=True)
class Block:
    """Markdown to render as a whole. `goes_on`: it continues the block before it, without a gap."""

    source: str
    goes_on: bool = False


class BlockCutter:
    """Takes text as it comes, gives blocks as they are finished; `tail` is what is not finished yet."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._unfinished: list[str] = []
        self._fence: str | None = None
        self._indented = False
        self._opening = ""
        self._blank = False
        self._goes_on = False

    @property
    def tail(self) -> Block:
        """What has come of the block that is not finished."""
        return Block("\n".join([*self._lines, "".join(self._unfinished)]), self._goes_on)

    def feed(self, text: str) -> list[Block]:
        """Take more text and return the blocks that it finishes."""
        *lines, rest = text.split("\n")
        blocks: list[Block] = []
        for line in lines:
            self._take("".join([*self._unfinished, line]), blocks)
            self._unfinished = []
        if rest:
            self._unfinished.append(rest)
        return blocks

    def finish(self) -> list[Block]:
        """Return what is left: no more text comes."""
        blocks: list[Block] = []
        if self._unfinished:
            self._take("".join(self._unfinished), blocks)
            self._unfinished = []
        self._cut(blocks)
        self._fence, self._goes_on = None, False
        return blocks

    def _take(self, line: str, blocks: list[Block]) -> None:
        if self._fence is not None:
            self._take_code(line, blocks)
            return
        if not line.strip():
            self._blank = bool(self._lines)
            self._add(line)
            return
        fence = _FENCE.fullmatch(line)
        in_list = bool(self._lines) and _ITEM.match(self._lines[0]) is not None
        belongs = in_list and (line.startswith((" ", "\t")) or _ITEM.match(line) is not None)
        if in_list and _ITEM.match(line) is not None and len(self._lines) >= LONGEST_BLOCK:
            gap = self._blank
            self._cut(blocks)
            self._goes_on = not gap
        elif not belongs and (self._blank or fence is not None or _HEADING.match(line)):
            self._cut(blocks)
        self._blank = False
        self._add(line)
        if fence is not None and not (fence.group(2)[0] == "`" and "`" in fence.group(3)):
            self._fence, self._opening, self._indented = fence.group(2), line, belongs
        elif _HEADING.match(line) and not belongs:
            self._cut(blocks)

    def _take_code(self, line: str, blocks: list[Block]) -> None:
        assert self._fence is not None
        self._lines.append(line)
        closing = line.strip()
        if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
            self._fence = None
            if not self._indented:
                self._cut(blocks)
        elif not self._indented and len(self._lines) > LONGEST_BLOCK:
            self._lines.append(self._fence)
            self._cut(blocks)
            self._lines, self._goes_on = [self._opening], True

    def _add(self, line: str) -> None:
        if line.strip() or self._lines:
            self._lines.append(line)

    def _cut(self, blocks: list[Block]) -> None:
        source = "\n".join(self._lines).rstrip("\n ")
        if source:
            blocks.append(Block(source, self._goes_on))
            self._goes_on = False
        self._lines, self._blank = [], False
