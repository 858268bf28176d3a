"""Half characters: UTF-16 surrogates that JSON escapes can put into a string, and that no UTF-8 can hold."""

import json

import msgspec


def mend_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined, and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encode_mended(value: object) -> bytes:
    """Return a value as JSON, half characters in it replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return mend_surrogates(json.dumps(value, ensure_ascii=False)).encode()
