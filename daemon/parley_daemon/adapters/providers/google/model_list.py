"""Google's list of models."""

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
    model_name,
    read_entries,
    sort_distinct,
)


async def google_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[ListedModel]:
    """Return Google's models that generate content. `headers` hold the key."""
    url, token = endpoint_url(base_url, "/models", version="v1beta"), ""
    found: list[ListedModel] = []
    for _ in range(MAX_PAGES):
        page = as_object(await fetch(add_query(url, pageSize="1000", pageToken=token), headers))
        found += read_entries(as_list(page.get("models")) or as_list(page.get("data")), _google)
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            break
    return sort_distinct(found)


def _google(entry: dict[str, Any]) -> ListedModel | None:
    name = entry.get("name")
    if isinstance(name, str) and "generateContent" not in as_list(entry.get("supportedGenerationMethods")):
        return None
    name = name or model_name(entry)  # gateways have OpenAI's entries, without methods
    if not isinstance(name, str):
        return None
    limit = as_count(entry.get("inputTokenLimit"))
    reasons = ("reasoning",) if entry.get("thinking") is True else ()
    return build_entry(name.removeprefix("models/"), entry.get("displayName"), limit, reasons)
