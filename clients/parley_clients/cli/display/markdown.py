"""Renders Markdown on a terminal, in the colours of its theme. Requires rich.

Unlike rich's own Markdown, nothing is left out: HTML is shown as text, links and images with their addresses.
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

# The definition of a link is usually in a later block than the link, so both are shown as text.
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
    """A block of HTML, shown line by line."""

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
                token.children = list(
                    _show_everything(token.children, all(map(_is_definition, token.content.split("\n"))))
                )


def _is_definition(line: str) -> bool:
    """Return whether a line is the definition of a link, such as `[1]: http://a.example`."""
    return _DEFINITION.match(line.strip()) is not None


def _show_everything(tokens: Iterable[Token], definitions: bool) -> Iterator[Token]:
    """Replace tokens of which rich would leave something out."""
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
    """A block of Markdown for rich, without the blank lines that rich puts around some blocks."""

    def __init__(self, block: Block) -> None:
        self._markdown = _Markdown(block.source)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options, pad=False)
        full = [number for number, line in enumerate(lines) if any(part.text.strip() for part in line)]
        for line in lines[full[0] : full[-1] + 1] if full else ():
            yield from strip_trailing_blanks(line)
            yield Segment.line()


def strip_trailing_blanks(line: list[Segment]) -> list[Segment]:
    """Return the line without trailing blanks: a terminal that becomes narrower would wrap them."""
    kept = list(line)
    while kept and not kept[-1].text.rstrip(" "):
        kept.pop()
    if kept:
        last = kept[-1]
        kept[-1] = Segment(last.text.rstrip(" "), last.style, last.control)
    return kept
