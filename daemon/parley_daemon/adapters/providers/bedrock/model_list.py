"""The lists of Anthropic's models on Amazon Bedrock."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from parley_daemon.adapters.providers.shared.model_list import (
    MAX_PAGES,
    Fetch,
    ListedModel,
    add_query,
    as_list,
    as_object,
    build_entry,
    read_entries,
    sort_distinct,
)


async def bedrock_models(
    base_url: str, headers: Callable[[str], Awaitable[Mapping[str, str]]], fetch: Fetch
) -> Sequence[ListedModel]:
    """Return Anthropic's models on Bedrock: the profiles of the region, and what is there without one.

    `base_url` is the control plane's; `headers` identify for a URL.
    """
    found: list[ListedModel] = []
    token = ""
    for _ in range(MAX_PAGES):
        url = add_query(f"{base_url}/inference-profiles", maxResults="1000", nextToken=token)
        page = as_object(await fetch(url, await headers(url)))
        found += read_entries(as_list(page.get("inferenceProfileSummaries")), _profile)
        token = page.get("nextToken")
        if not isinstance(token, str) or not token:
            break
    url = add_query(f"{base_url}/foundation-models", byInferenceType="ON_DEMAND", byOutputModality="TEXT")
    page = as_object(await fetch(url, await headers(url)))
    found += read_entries(as_list(page.get("modelSummaries")), _foundation_model)
    return sort_distinct(found)


def _profile(entry: dict[str, Any]) -> ListedModel | None:
    name = entry.get("inferenceProfileId")
    if not isinstance(name, str) or ".anthropic." not in name or entry.get("status") != "ACTIVE":
        return None
    return build_entry(name, entry.get("inferenceProfileName"), None, ())


def _foundation_model(entry: dict[str, Any]) -> ListedModel | None:
    name, age = entry.get("modelId"), as_object(entry.get("modelLifecycle")).get("status")
    if not isinstance(name, str) or not name.startswith("anthropic.") or age not in (None, "ACTIVE"):
        return None
    images = ("images",) if "IMAGE" in as_list(entry.get("inputModalities")) else ()
    return build_entry(name, entry.get("modelName"), None, images)
