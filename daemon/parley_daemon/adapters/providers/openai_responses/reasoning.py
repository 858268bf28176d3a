"""Converts reasoning items to parts and back: what the API needs back is kept as the signature of the part.

The signature is a small JSON object: the id of the item, its encrypted content if any, and the length of each
of its texts, so that the same item can be built from the part again.
Source: https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items
"""

from collections.abc import Sequence

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import replace_surrogates
from parley_daemon.adapters.providers.openai_responses.events import Content, Item
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.core.parts import Reasoning

BETWEEN = "\n\n"
"""The separator of two texts of one item in a part."""


class _Signature(msgspec.Struct, omit_defaults=True):
    id: str
    encrypted_content: str | None = None
    summary: list[int] = []
    content: list[int] = []


_decode = msgspec.json.Decoder(_Signature).decode


def build_signature(item: Item) -> str | None:
    """Return the signature of a finished reasoning item; None when there is nothing to send back.

    That is so without an id, and without encrypted content when it was only a summary: the API would look
    for the item among those that it stored.
    """
    thoughts = _lengths(item.content)
    if not item.id or not (item.encrypted_content or thoughts):
        return None
    encrypted = item.encrypted_content and replace_surrogates(item.encrypted_content)
    signature = _Signature(replace_surrogates(item.id), encrypted or None, _lengths(item.summary), thoughts)
    return msgspec.json.encode(signature).decode()


def build_item(part: Reasoning, *, with_id: bool) -> Json | None:
    """Return the item to send back for a part; None when its signature is missing or of another API.

    `with_id`: with its id, as it must be when the API has not stored the item.
    """
    try:
        signature = _decode(part.signature or "")
    except (ValueError, RecursionError):
        return None
    lengths = signature.summary + signature.content
    texts = _split_texts(part.text, lengths)
    if texts is None:
        texts, signature.summary, signature.content = [part.text], [len(part.text)], []
    count = len(signature.summary)
    item: Json = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in texts[:count]],
    }
    if with_id:
        item["id"] = signature.id
    if signature.encrypted_content is not None:
        item["encrypted_content"] = signature.encrypted_content
    if signature.content:
        item["content"] = [{"type": "reasoning_text", "text": text} for text in texts[count:]]
    return item


def _lengths(contents: Sequence[Content] | None) -> list[int]:
    return [len(replace_surrogates(content.text)) for content in contents or () if content.text]


def _split_texts(text: str, lengths: Sequence[int]) -> list[str] | None:
    """Return the texts of these lengths that make up a text; None when they do not."""
    texts: list[str] = []
    at = 0
    for length in lengths:
        texts.append(text[at : at + length])
        at += length + len(BETWEEN)
    return texts if BETWEEN.join(texts) == text else None
