"""The text of a web page: from HTML to readable lines, in one pass over the source.

Python's own parser of HTML rereads what it does not understand, so that a hostile page of a megabyte can keep
it busy for hours. Here every step moves forward: what is never closed extends to the end of the page, as
browsers have it. The text can be longer than its source, since links get whole addresses. So reading stops
when there is enough.
"""

import re
from html import unescape
from urllib.parse import urljoin

_MARKUP = re.compile(r"<(?=[a-zA-Z/!?])")
_TAG = re.compile(r"""<(/?)([a-zA-Z][^\s/>]*+)((?:[^"'>]|"[^"]*+"|'[^']*+')*+)>""")
_HREF = re.compile(r"""(?:^|\s)href\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)
_ALT = re.compile(r"""(?:^|\s)alt\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\r\n\f\xa0]+")

_RAW = frozenset({"script", "style", "noscript", "template", "iframe", "object", "svg", "textarea", "math"})
"""Elements whose content is no text of the page. They end at their closing tag, whatever is inside."""

_BREAKS = frozenset({"br", "tr", "li", "dt", "dd", "option", "figcaption", "caption", "summary", "button"})
# fmt: off
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "details", "div", "dl", "fieldset", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "main", "nav", "ol",
    "p", "pre", "section", "table", "ul",
})
# fmt: on
_MAX_TARGET = 1_000
"""Characters of the address of a link that is shown."""

_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}


def read_page(source: str, address: str, enough: int = 2**20) -> tuple[str, str]:
    """Return the title and the text of a page. Headings, list items, links and code look as in Markdown.

    `address` is the URL of the page, against which its links are resolved. The text ends behind so many
    characters: `enough`.
    """
    writer = _Writer(address)
    position = 0
    while writer.size <= enough and (found := _MARKUP.search(source, position)) is not None:
        writer.text(source[position : found.start()])
        position = _read_markup(source, found.start(), writer)
    if writer.size <= enough:
        writer.text(source[position:])
    return writer.title(), writer.result()


def _read_markup(source: str, start: int, writer: "_Writer") -> int:
    """Read what begins with the `<` at `start`; return where it ends."""
    following = source[start + 1 : start + 2]
    if following in ("!", "?"):
        end = "-->" if source.startswith("<!--", start) else ">"
        return _after(source, end, start + 2)
    tag = _TAG.match(source, start)
    if tag is None:
        return _after(source, ">", start) if following == "/" else len(source)
    closes, name, attributes = bool(tag[1]), tag[2].lower(), tag[3]
    if closes:
        writer.close(name)
        return tag.end()
    if name == "title":
        end = _find_end(source, name, tag.end())
        writer.set_title(source[tag.end() : end])
        return end
    if name in _RAW and not attributes.endswith("/"):
        return _find_end(source, name, tag.end())
    writer.open(name, attributes)
    return tag.end()


def _after(source: str, end: str, position: int) -> int:
    found = source.find(end, position)
    return len(source) if found < 0 else found + len(end)


def _find_end(source: str, name: str, position: int) -> int:
    found = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(source, position)
    return len(source) if found is None else found.start()


class _Writer:
    """Collects the text of a page line by line."""

    def __init__(self, address: str) -> None:
        self.size = 0  # characters, about
        self._address = address
        self._lines: list[str] = []
        self._line: list[str] = []
        self._title = ""
        self._is_code = False
        self._has_text = False
        self._links: list[tuple[str, int]] = []  # targets of open links, and where their text begins

    def title(self) -> str:
        return self._title

    def set_title(self, source: str) -> None:
        self._title = self._title or _BLANKS.sub(" ", _unescape(source)).strip()[:500]

    def result(self) -> str:
        self._end_line()
        return "\n".join(self._lines).strip("\n")

    def text(self, source: str) -> None:
        if not source:
            return
        text = _unescape(source)
        self.size += len(text)
        self._has_text = self._has_text or not text.isspace()
        if not self._is_code:
            self._line.append(_BLANKS.sub(" ", text))
            return
        first, *others = text.replace("\r\n", "\n").split("\n")
        self._line.append(first)
        for line in others:
            self._end_line()
            self._line.append(line)

    def open(self, name: str, attributes: str) -> None:
        if name == "a":
            self._close_link()
            self._links.append((self._target(attributes), len(self._line)))
        elif name == "img":
            alt = _value(_ALT, attributes)
            if alt:
                self._has_text = True
                self._line.append(f"[image: {_BLANKS.sub(' ', alt).strip()}]")
        elif name in ("td", "th"):
            if self._has_text:
                self._line.append(" | ")
        elif name in _BLOCKS or name in _BREAKS:
            self._break(is_block=name in _BLOCKS)
            if name == "pre" and not self._is_code:
                self._lines.append("```")
                self._is_code = True
            prefix = _HEADINGS.get(name) or ("- " if name == "li" else "")
            if prefix:
                self._line.append(prefix)

    def close(self, name: str) -> None:
        if name == "a":
            self._close_link()
        elif name == "pre" and self._is_code:
            self._end_line()
            self._is_code = False
            self._lines += ["```", ""]
        elif name in _BLOCKS or name == "tr":
            self._break(is_block=name in _BLOCKS)

    def _close_link(self) -> None:
        if not self._links:
            return
        target, start = self._links.pop()
        text = "".join(self._line[start:])
        if target and text.strip():
            self.size += len(target)
            self._line[start:] = [f"[{text.strip()}]({target})"]

    def _target(self, attributes: str) -> str:
        href = _value(_HREF, attributes)
        if not href or href.startswith("#") or len(href) > _MAX_TARGET:
            return ""
        if len(self._address) > _MAX_TARGET and not href.startswith(("http://", "https://")):
            return ""  # to resolve it would take long, and so would what comes of it
        try:
            target = urljoin(self._address, href)
        except ValueError:
            return ""
        return target if target.startswith(("http://", "https://")) and len(target) <= _MAX_TARGET else ""

    def _break(self, *, is_block: bool) -> None:
        self._end_line()
        if is_block and not self._is_code and self._lines and self._lines[-1]:
            self._lines.append("")

    def _end_line(self) -> None:
        self._links.clear()
        self._has_text = False
        line = "".join(self._line)
        self._line.clear()
        if self._is_code:
            self._lines.append(line.rstrip())
            return
        line = _BLANKS.sub(" ", line).strip()
        if line.strip("#- |"):
            self._lines.append(line)


def _value(pattern: re.Pattern[str], attributes: str) -> str:
    found = pattern.search(attributes)
    return "" if found is None else _unescape(found[1] or found[2] or found[3] or "").strip()


def _unescape(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:  # the number of a character with thousands of digits
        return text
