"""Keeps the thought signatures of parts that are not thoughts, and marks the ids of calls without an id.

Google requires that a signature is sent back on the part it came on. Of this project's parts only reasoning
has a signature. So the signature of another part is kept in a reasoning part without text, directly after a
text, or directly before a call or file; a prefix says which field it belongs to.
Source: https://ai.google.dev/gemini-api/docs/thought-signatures
"""

from typing import Literal

SignedField = Literal["text", "functionCall", "inlineData", "fileData"]

_FIELDS: tuple[SignedField, ...] = ("text", "functionCall", "inlineData", "fileData")
_PREFIX = "call-without-id-"


def add_field(field: SignedField, signature: str) -> str:
    """Return a signature with the name of its field before it, and a colon.

    Base64 has no colon: a signature without a prefix belongs to a thought.
    """
    return f"{field}:{signature}"


def split_field(part_signature: str) -> tuple[SignedField | None, str]:
    """Return the field that a signature belongs to (None: a thought), and the signature."""
    for field in _FIELDS:
        if part_signature.startswith(f"{field}:"):
            return field, part_signature.removeprefix(f"{field}:")
    return None, part_signature


def make_call_id(unique: str) -> str:
    """Return an id for a call that came without one."""
    return _PREFIX + unique


def is_made_call_id(id: str) -> bool:
    """Return whether an id was made by `make_call_id`: the model does not know it."""
    return id.startswith(_PREFIX)
