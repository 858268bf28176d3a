"""Makes text that came from elsewhere safe to be shown: no title and no answer commands the terminal."""

_SHOWN = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)}
_SHOWN[0x7F] = 0x2421
# A carriage return would let a line be written over; before a line feed it says nothing.
_TABLE: dict[int, int | str | None] = {
    **_SHOWN,
    0x0D: None,
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
}


def clean(text: str) -> str:
    """Return the text with its control characters made visible (ESC as ␛); line feeds and tabs stay."""
    return text.translate(_TABLE)


def one_line(text: str) -> str:
    """Return the text on one line, its control characters made visible."""
    return clean(" ".join(text.split(None)))
