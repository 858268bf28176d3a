"""Renders Markdown on a terminal, in the colours of its theme. Requires rich.

Unlike rich's own Markdown, nothing is left out: HTML is shown as text, links and images with their addresses.

Code is printed as it is: a line of code is one line, however long, without indentation and with its tabs. The
terminal wraps it, so that it can be copied unbroken. rich would crop or wrap it to the width. So the layout
gets one character in place of each line of code, from a private area of Unicode (_FIRST_PLACEHOLDER), and the
lines of code replace the lines of that layout which have such a character. The fences are shown, dimmed:
without them and without indentation nothing would tell where code ends when there are no colours.
"""

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TextElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from parley_clients.cli.display.blocks import Block

CODE_THEME = "ansi_dark"

THEME = Theme({"markdown.code": "cyan", "markdown.block_quote": "dim", "markdown.item.bullet": "cyan"})

# The definition of a link is usually in a later block than the link, so both are shown as text.
_PARSER = MarkdownIt().enable(["strikethrough", "table"]).disable("reference")

_FIRST_PLACEHOLDER = 0x100000
_MAX_PLACEHOLDERS = 0xFFFE
_PLACEHOLDER = re.compile(f"[{chr(_FIRST_PLACEHOLDER)}-{chr(_FIRST_PLACEHOLDER + _MAX_PLACEHOLDERS)}]")
_LIVE_TAB_SIZE = 4

_DEFINITION = re.compile(r"\[[^\]]+\]:\s*\S")


class _Heading(Heading):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text: Text = self.text
        text.justify = "left"
        text.stylize("bold underline" if self.tag == "h1" else "bold")
        yield text


class _Code(CodeBlock):
    """A code block: lays out one placeholder for each of its lines."""

    lines: list[Text]
    opening = closing = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> "_Code":
        assert isinstance(markdown, _Markdown)
        code = cls(token.info.partition(" ")[0] or "text", CODE_THEME)
        code.lines = markdown.code_lines
        code.opening = f"{token.markup}{token.info}" if markdown.shows_opening else ""
        code.closing = token.markup if markdown.shows_closing else ""
        return code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).removesuffix("\n")
        syntax = Syntax(code, self.lexer_name, theme=CODE_THEME, background_color="default", tab_size=0)
        text = syntax.highlight(code)
        text.plain = text.plain[: len(code)]
        lines = list(text.split("\n", allow_blank=True)) if code else []
        fences = [Text(fence, "dim") if fence else None for fence in (self.opening, self.closing)]
        for line in (fences[0], *lines, fences[1]):
            if line is not None:
                yield Text(chr(_FIRST_PLACEHOLDER + len(self.lines)))
                self.lines.append(line)


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

    def __init__(self, block: Block) -> None:
        super().__init__("", code_theme=CODE_THEME)
        self.code_lines: list[Text] = []
        self.shows_opening = not block.continues or not block.source.lstrip(" ").startswith(("```", "~~~"))
        self.shows_closing = not block.is_cut
        self.parsed = _PARSER.parse(block.source)
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
    """A block of Markdown for rich, without the blank lines that rich puts around some blocks.

    Print it with `crop=False`: lines of code can be longer than the terminal is wide. With `wraps_code` they
    are not, for what is erased again.
    """

    def __init__(self, block: Block, *, wraps_code: bool = False) -> None:
        self._markdown = _Markdown(block)
        self._wraps_code = wraps_code

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code_lines = self._markdown.code_lines
        code_lines.clear()
        lines = console.render_lines(self._markdown, options, pad=False)
        full = [number for number, line in enumerate(lines) if any(part.text.strip() for part in line)]
        for line in lines[full[0] : full[-1] + 1] if full else ():
            found = _PLACEHOLDER.search("".join([part.text for part in line])) if code_lines else None
            index = -1 if found is None else ord(found.group()) - _FIRST_PLACEHOLDER
            if 0 <= index < len(code_lines):
                yield from self._render_code(code_lines[index], console, options)
            else:
                yield from strip_trailing_blanks(line)
                yield Segment.line()

    def _render_code(self, line: Text, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        if not self._wraps_code:
            line.end = ""
            yield from line.render(console)
            yield Segment.line()
            return
        line.tab_size, line.overflow, line.no_wrap = _LIVE_TAB_SIZE, "fold", False
        for part in console.render_lines(line, options, pad=False):
            yield from part
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
