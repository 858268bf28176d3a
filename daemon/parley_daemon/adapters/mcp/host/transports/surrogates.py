"""Half pairs of surrogates in JSON, which programs send that cut texts in the middle of a character."""

import re

_HIGH, _LOW = rb"u[dD][89abAB][0-9a-fA-F]{2}", rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPES = re.compile(rb"\\(?:" + _HIGH + rb"\\" + _LOW + rb"|(" + _HIGH + rb"|" + _LOW + rb")|.)", re.DOTALL)


def replace_halves(text: bytes) -> bytes:
    """Return JSON with no escape sequence of half a pair of surrogates. It has strings as a whole only."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    return _ESCAPES.sub(lambda match: match[0] if match[1] is None else b"\\ufffd", text)
