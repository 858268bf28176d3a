"""Where the thought signatures are kept that Google puts on parts that are no thoughts; and made-up ids.

A signature has to go back on the part that it came on, and only our reasoning has a place for one: so these
are kept in reasoning of their own, without text, right behind the text or right before the call or file.
"""

from typing import Literal

SignedField = Literal["text", "functionCall", "inlineData", "fileData"]

_FIELDS: tuple[SignedField, ...] = ("text", "functionCall", "inlineData", "fileData")
_MADE_UP = "call-without-id-"


def add_field(field: SignedField, signature: str) -> str:
    """Return the signature of such a part as it is kept: behind Google's name of the field, and a colon.

    Base64 has no colon: what has no mark is a thought's own.
    """
    return f"{field}:{signature}"


def split_field(kept: str) -> tuple[SignedField | None, str]:
    """Return whose signature it is (None: a thought's own), and the signature."""
    for field in _FIELDS:
        if kept.startswith(f"{field}:"):
            return field, kept.removeprefix(f"{field}:")
    return None, kept


def make_call_id(unique: str) -> str:
    """Return an id for a call that came without."""
    return _MADE_UP + unique


def is_made_call_id(id: str) -> bool:
    """Return whether the model has never heard of this call's id."""
    return id.startswith(_MADE_UP)
