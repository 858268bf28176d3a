"""The routers' `reasoning_details`: kept as the signature of the reasoning that they are of, and sent back.

They are texts, summaries and encrypted data; a model wants back what is signed or encrypted, as it came. A
part's text stays in the part; all else of its details is its signature, as a JSON list.
"""

from collections.abc import Mapping
from typing import cast

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.core.parts import Reasoning

_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}


class ReasoningDetails:
    """The details of one reasoning part in the making."""

    def __init__(self) -> None:
        self._kept: list[Json] = []

    def begin(self) -> None:
        """A new part begins; of one that was never signed nothing has to go back."""
        self._kept.clear()

    def add(self, detail: Mapping[str, object]) -> str | None:
        """Take a detail, or more of one; return the part's signature when this completes it."""
        known = {name: value for name, value in detail.items() if value is not None}
        known.pop(_TEXTS.get(str(known.get("type")), ""), None)
        last = self._kept[-1] if self._kept else None
        if last and last.get("type") == known.get("type"):
            last |= known
        else:
            self._kept.append(known)
        if not (known.get("signature") or known.get("data")):
            return None
        signature = encode_json(self._kept).decode()
        self._kept.clear()
        return signature


def read_details(part: Reasoning) -> list[Json]:
    """Return the details that a reasoning part was made of; none when it was not signed."""
    try:
        kept = msgspec.json.decode(part.signature or "[]", type=list[dict[str, object]])
    except (ValueError, RecursionError):
        return []  # another maker's signature
    text = part.text
    for detail in kept:
        field = _TEXTS.get(cast("str", detail.get("type")))
        if field is not None:
            detail[field], text = text, ""
    return kept
