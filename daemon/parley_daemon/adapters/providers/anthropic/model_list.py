"""Anthropic's list of models."""

from collections.abc import Mapping, Sequence
from typing import Any

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.shared.model_list import (
    MAX_PAGES,
    Fetch,
    ListedModel,
    add_query,
    as_count,
    as_list,
    as_object,
    build_entry,
    map_words,
    model_name,
    read_entries,
    sort_distinct,
)

_ANTHROPIC = {
    "thinking": "reasoning",
    "image_input": "images",
    "pdf_input": "files",
    "structured_outputs": "structured-output",
}


async def anthropic_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[ListedModel]:
    """Return Anthropic's models. `headers` hold the key and the API's version."""
    url, after = endpoint_url(base_url, "/models"), ""
    found: list[ListedModel] = []
    for _ in range(MAX_PAGES):
        page = as_object(await fetch(add_query(url, limit="1000", after_id=after), headers))
        found += read_entries(as_list(page.get("data")) or as_list(page.get("models")), _anthropic)
        after = page.get("last_id") if page.get("has_more") is True else ""
        if not isinstance(after, str) or not after:
            break
    return sort_distinct(found)


def _anthropic(entry: dict[str, Any]) -> ListedModel | None:
    abilities = as_object(entry.get("capabilities"))
    words = [name for name, value in abilities.items() if as_object(value).get("supported") is True]
    limit = as_count(entry.get("max_input_tokens"))
    return build_entry(model_name(entry), entry.get("display_name"), limit, map_words(words, _ANTHROPIC))
