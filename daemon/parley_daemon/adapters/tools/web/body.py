"""The body of a response: unpacked within a limit, and as text."""

import codecs
import re
import zlib

MAX_BODY = 2**20
"""Bytes of a body, after unpacking, that are read of a page. The rest is left out."""

_TEXT_TYPES = re.compile(
    r"text/.*|application/(?:.*[+.-])?(?:json|xml|yaml|toml|javascript|ecmascript|typescript|graphql|sql|ndjson"
    r"|x-sh|x-ndjson|x-httpd-php)|image/svg\+xml|message/.*"
)
_META_CHARSET = re.compile(rb"""<meta[^>]{0,500}?charset\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})""", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}["']([\w.:-]{1,40})""")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The encodings that pages have. Python has others that are no character sets, such as unicode_escape.
_ENCODINGS = re.compile(
    r"utf-8|utf-16(-[lb]e)?|iso8859-\d+|cp(125\d|866|874|932|949)|koi8-[ru]|mac-(roman|cyrillic)|gbk|gb2312"
    r"|gb18030|big5(hkscs)?|euc_(jp|kr)|iso2022_jp|shift_jis|tis-620|johab"
)
_LATIN = frozenset({"ascii", "iso8859-1"})


class UnreadableBodyError(Exception):
    """A body cannot be unpacked. The message is a sentence for the model."""


class Unpacker:
    """Unpacks a body piece by piece, and stops at MAX_BODY however far it would expand."""

    def __init__(self, encoding: str) -> None:
        """Begin. `encoding` is the Content-Encoding of the response.

        Raises:
            UnreadableBodyError: the encoding is not known.
        """
        name = encoding.strip().lower()
        self.data = bytearray()
        self.is_cut = False
        self._encoding = name
        self._inflater = None
        if name in ("gzip", "x-gzip"):
            self._inflater = zlib.decompressobj(31)
        elif name not in ("", "identity", "deflate"):
            raise UnreadableBodyError(f"The page is compressed as {name[:40]!r}, which was not asked for.")

    def add(self, piece: bytes) -> bool:
        """Add the next piece; return whether more is wanted.

        Raises:
            UnreadableBodyError: it is damaged.
        """
        room = MAX_BODY - len(self.data)
        if self._encoding == "deflate" and self._inflater is None and piece:
            # Some servers leave out the header of zlib (RFC 9110, 8.4.1.2).
            self._inflater = zlib.decompressobj(15 if piece[0] & 0x0F == 8 else -15)
        if self._inflater is None:
            self.data += piece[:room]
            self.is_cut = self.is_cut or len(piece) > room
        else:
            try:
                self.data += self._inflater.decompress(piece, room + 1)
            except zlib.error:
                raise UnreadableBodyError(f"The page is not valid {self._encoding} data.") from None
            self.is_cut = len(self.data) > MAX_BODY
            del self.data[MAX_BODY:]
            if self._inflater.eof:
                return False  # zlib would keep all that comes behind the end
        return not self.is_cut


def is_text(media_type: str, data: bytes) -> bool:
    """Return whether a body is text, by its media type; without one, by its first bytes."""
    if media_type:
        return _TEXT_TYPES.fullmatch(media_type) is not None
    return b"\0" not in data[:1024]


def is_html(media_type: str, data: bytes) -> bool:
    """Return whether a body is HTML, by its media type; without one, by its first bytes."""
    if media_type:
        return media_type in ("text/html", "application/xhtml+xml")
    return re.match(rb"\s*<(?:!doctype html|html|head|body)\b", data[:1024], re.IGNORECASE) is not None


def decode_text(data: bytes, charset: str | None) -> str:
    """Return a body as text: by its byte order mark, the charset of its header, or what it says itself.

    Without any of them, it is UTF-8 if it can be, otherwise Windows-1252, as browsers have it.
    """
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    declared = _META_CHARSET.search(data[:1024]) or _XML_ENCODING.search(data[:1024])
    named = charset or (declared[1].decode("ascii", "replace") if declared else "")
    encoding = _encoding(named)
    if encoding is None:
        try:
            # A character that the limit has cut in two is no sign of another encoding.
            return codecs.getincrementaldecoder("utf-8")().decode(data)
        except UnicodeDecodeError:
            encoding = "cp1252"
    if not charset and encoding.startswith("utf-16"):  # a page that says so in ASCII is wrong
        encoding = "utf-8"
    return data.decode(encoding, "replace")


def _encoding(name: str) -> str | None:
    try:
        known = codecs.lookup(name.strip().strip("\"'")).name
    except (LookupError, ValueError):
        return None
    if known in _LATIN:  # what pages call so is Windows-1252 (WHATWG Encoding)
        return "cp1252"
    return known if _ENCODINGS.fullmatch(known) else None
