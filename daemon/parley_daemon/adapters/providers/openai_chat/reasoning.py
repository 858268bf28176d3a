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
        self._details: list[Json] = []

    def begin(self) -> None:
        """Begin a new part. The details of an unsigned part are dropped."""
        self._details.clear()

    def add(self, detail: Mapping[str, object]) -> str | None:
        """Take a detail, or a part of one; return the signature of the part when it is complete."""
        fields = {name: value for name, value in detail.items() if value is not None}
        fields.pop(_TEXTS.get(str(fields.get("type")), ""), None)
        last = self._details[-1] if self._details else None
        if last and last.get("type") == fields.get("type"):
            last |= fields
        else:
            self._details.append(fields)
        if not (fields.get("signature") or fields.get("data")):
            return None
        signature = encode_json(self._details).decode()
        self._details.clear()
        return signature


def read_details(part: Reasoning) -> list[Json]:
    """Return the details of a reasoning part to send back; none when it was not signed."""
    try:
        details = msgspec.json.decode(part.signature or "[]", type=list[dict[str, object]])
    except (ValueError, RecursionError):
        return []  # a signature of another dialect
    text = part.text
    for detail in details:
        field = _TEXTS.get(cast("str", detail.get("type")))
        if field is not None:
            detail[field], text = text, ""
    return details
