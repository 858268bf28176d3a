"""Markdown on a terminal, in the terminal's own colours: plain headings, code without a box. Needs rich."""

from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement
from rich.padding import Padding
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from parley_clients.cli.blocks import Block

CODE_THEME = "ansi_dark"

THEME = Theme({"markdown.code": "cyan", "markdown.block_quote": "dim", "markdown.item.bullet": "cyan"})


class _Heading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text: Text = self.text
        text.justify = "left"
        text.stylize("bold underline" if self.tag == "h1" else "bold")
        yield text


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip("\n")
        syntax = Syntax(
            code, self.lexer_name, theme=CODE_THEME, background_color="default", word_wrap=True, padding=0
        )
        yield Padding(syntax, (0, 0, 0, 2))


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
    }


class RenderedBlock:
    """One block of Markdown, without the blank lines that rich puts around some kinds of blocks."""

    def __init__(self, block: Block) -> None:
        self._markdown = _Markdown(block.source, code_theme=CODE_THEME, hyperlinks=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options, pad=False)
        full = [number for number, line in enumerate(lines) if any(part.text.strip() for part in line)]
        for line in lines[full[0] : full[-1] + 1] if full else ():
            yield from line
            yield Segment.line()
