"""Which characters people can see: what they decide on must read as it is."""

_BLANK = frozenset(
    [
        # Letters, marks and symbols without a shape, and the selectors of variants (Unicode's
        # Default_Ignorable_Code_Point, as far as Python calls them printable).
        *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",
        *map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))),
    ]
)


def is_visible(sign: str) -> bool:
    """Return whether a character has a shape of its own, or is the space."""
    return sign.isprintable() and sign not in _BLANK
