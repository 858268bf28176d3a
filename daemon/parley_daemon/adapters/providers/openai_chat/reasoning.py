"""The routers' `reasoning_details`: kept as the signature of a reasoning part, and sent back.

Details are texts, summaries and encrypted data. A model needs back what is signed or encrypted, unchanged.
The text of a part stays in the part; the rest of its details becomes its signature, as a JSON list. Source:
https://openrouter.ai/docs/use-cases/reasoning-tokens#preserving-reasoning-blocks
"""

from collections.abc import Mapping
from typing import cast

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.core.parts import Reasoning

_TEXTS = {"reasoning.text": "text", "reasoning.summary": "summary"}


class ReasoningDetails:
    """Collects the details of one reasoning part."""

    def __init__(self) -> None:
        self._kept: list[Json] = []

    def begin(self) -> None:
        """Begin a new part. The details of an unsigned part are dropped."""
        self._kept.clear()

    def add(self, detail: Mapping[str, object]) -> str | None:
        """Take a detail, or a part of one; return the signature of the part when it is complete."""
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
    """Return the details of a reasoning part to send back; none when it was not signed."""
    try:
        kept = msgspec.json.decode(part.signature or "[]", type=list[dict[str, object]])
    except (ValueError, RecursionError):
        return []  # a signature of another dialect
    text = part.text
    for detail in kept:
        field = _TEXTS.get(cast("str", detail.get("type")))
        if field is not None:
            detail[field], text = text, ""
    return kept
