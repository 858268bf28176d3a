"""Splits streamed Markdown into blocks, in time linear in the length of the text.

Theory of operation. Markdown on a terminal has to be rendered while it is still incomplete, and rendering the
whole answer again for each piece would take quadratic time. So the text is cut into blocks that no later text
can change: a block is finished by a blank line, a heading, or the end of a code fence. Finished blocks are
rendered and printed once; only the `tail`, the block that is not finished yet, is rendered again and again.

The tail must therefore stay short. A long list or a long code block is cut after MAX_BLOCK_LINES lines, and
the rest becomes a block with `continues` set, which is printed without a gap. A code block that is cut is
closed with its fence and opened again with its first line, so that each half is valid Markdown.

A blank line does not end a list: an indented line or another item may follow, which belongs to it.
"""

import re
from dataclasses import dataclass

MAX_BLOCK_LINES = 40
"""Lines after which an unfinished code block or list is cut."""

_FENCE = re.compile(r"( *)(`{3,}|~{3,})(.*)")
_ITEM = re.compile(r" {0,3}([-*+]|\d{1,9}[.)])( |$)")
_HEADING = re.compile(r" {0,3}#{1,6}( |$)")


@dataclass(frozen=True, slots=True)
class Block:
    """Markdown to render as a whole.

    `continues`: no gap separates it from the block before. `is_cut`: it is a code block that continues in the
    next block, so that its last line is not from the text.
    """

    source: str
    continues: bool = False
    is_cut: bool = False


class BlockCutter:
    """Returns the blocks of a streamed text as they are finished."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._unfinished_line: list[str] = []
        self._fence: str | None = None
        self._fence_in_list = False
        self._fence_line = ""
        self._after_blank = False
        self._continues = False

    @property
    def tail(self) -> Block:
        """The block that is not finished yet."""
        return Block("\n".join([*self._lines, "".join(self._unfinished_line)]), self._continues)

    def feed(self, text: str) -> list[Block]:
        """Add text and return the blocks that it finishes."""
        *lines, rest = text.split("\n")
        blocks: list[Block] = []
        for line in lines:
            self._add_line("".join([*self._unfinished_line, line]), blocks)
            self._unfinished_line = []
        if rest:
            self._unfinished_line.append(rest)
        return blocks

    def finish(self) -> list[Block]:
        """Return the remaining blocks: the text is complete."""
        blocks: list[Block] = []
        if self._unfinished_line:
            self._add_line("".join(self._unfinished_line), blocks)
            self._unfinished_line = []
        self._cut(blocks)
        self._fence, self._continues = None, False
        return blocks

    def _add_line(self, line: str, blocks: list[Block]) -> None:
        if self._fence is not None:
            self._add_code_line(line, blocks)
            return
        if not line.strip():
            self._after_blank = bool(self._lines)
            self._append(line)
            return
        fence = _FENCE.fullmatch(line)
        in_list = bool(self._lines) and _ITEM.match(self._lines[0]) is not None
        belongs = in_list and (line.startswith((" ", "\t")) or _ITEM.match(line) is not None)
        if in_list and _ITEM.match(line) is not None and len(self._lines) >= MAX_BLOCK_LINES:
            gap = self._after_blank
            self._cut(blocks)
            self._continues = not gap
        elif not belongs and (self._after_blank or fence is not None or _HEADING.match(line)):
            self._cut(blocks)
        self._after_blank = False
        self._append(line)
        if fence is not None and not (fence.group(2)[0] == "`" and "`" in fence.group(3)):
            self._fence, self._fence_line, self._fence_in_list = fence.group(2), line, belongs
        elif _HEADING.match(line) and not belongs:
            self._cut(blocks)

    def _add_code_line(self, line: str, blocks: list[Block]) -> None:
        assert self._fence is not None
        self._lines.append(line)
        closing = line.strip()
        if closing.startswith(self._fence) and not closing.strip(self._fence[0]):
            self._fence = None
            if not self._fence_in_list:
                self._cut(blocks)
        elif not self._fence_in_list and len(self._lines) > MAX_BLOCK_LINES:
            self._lines.append(self._fence)
            self._cut(blocks, is_cut=True)
            self._lines, self._continues = [self._fence_line], True

    def _append(self, line: str) -> None:
        if line.strip() or self._lines:
            self._lines.append(line)

    def _cut(self, blocks: list[Block], *, is_cut: bool = False) -> None:
        source = "\n".join(self._lines).rstrip("\n ")
        if source:
            blocks.append(Block(source, self._continues, is_cut))
            self._continues = False
        self._lines, self._after_blank = [], False
