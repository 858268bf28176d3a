"""Markdown on a terminal, in the terminal's own colours: plain headings, code without a box. Needs rich.

Nothing that was written is left out: HTML is shown as it is, links and images with their addresses.
"""

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TextElement
from rich.padding import Padding
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from parley_clients.cli.display.blocks import Block

CODE_THEME = "ansi_dark"

THEME = Theme({"markdown.code": "cyan", "markdown.block_quote": "dim", "markdown.item.bullet": "cyan"})

# A link's definition mostly comes in a later block than the link: it is text, as the link is then.
_PARSER = MarkdownIt().enable(["strikethrough", "table"]).disable("reference")

_DEFINITION = re.compile(r"\[[^\]]+\]:\s*\S")


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


class _Html(TextElement):
    """A block of HTML, line for line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text: Text = self.text
        text.rstrip()
        yield text


class _Markdown(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "html_block": _Html,
    }
    inlines: ClassVar[set[str]] = {*Markdown.inlines, "link", "link_url"}

    def __init__(self, source: str) -> None:
        super().__init__("", code_theme=CODE_THEME)
        self.parsed = _PARSER.parse(source)
        for token in self.parsed:
            if token.type == "inline" and token.children:
                token.children = list(_shown(token.children, all(map(_defines, token.content.split("\n")))))


def _defines(line: str) -> bool:
    """Return whether a line says where a link leads to."""
    return _DEFINITION.match(line.strip()) is not None


def _shown(tokens: Iterable[Token], definitions: bool) -> Iterator[Token]:
    """Return tokens that rich draws in full, in place of those of which it drops something."""
    label, address = "", ""
    for token in tokens:
        label += token.content
        match token.type:
            case "html_inline":
                yield _text(token.content)
            case "image":
                yield _text(f"![{token.content}]({token.attrs.get('src', '')})")
            case "link_open":
                label, address = "", str(token.attrs.get("href", ""))
                yield Token("label_open", "link", 1)
            case "link_close":
                yield Token("label_close", "link", -1)
                if label != address:
                    yield _text(" (")
                    yield Token("address", "link_url", 0, content=address)
                    yield _text(")")
            case "softbreak" if definitions:
                yield Token("hardbreak", "br", 0)
            case _:
                yield token


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


class RenderedBlock:
    """One block of Markdown, without the blank lines that rich puts around some kinds of blocks."""

    def __init__(self, block: Block) -> None:
        self._markdown = _Markdown(block.source)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options, pad=False)
        full = [number for number, line in enumerate(lines) if any(part.text.strip() for part in line)]
        for line in lines[full[0] : full[-1] + 1] if full else ():
            yield from trimmed(line)
            yield Segment.line()


def trimmed(line: list[Segment]) -> list[Segment]:
    """Return the line without blanks at its end: a narrower terminal would wrap them into lines."""
    kept = list(line)
    while kept and not kept[-1].text.rstrip(" "):
        kept.pop()
    if kept:
        last = kept[-1]
        kept[-1] = Segment(last.text.rstrip(" "), last.style, last.control)
    return kept
