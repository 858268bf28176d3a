"""The list of models of OpenAI, and of every server that has OpenAI's `/models`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urljoin, urlsplit

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.shared.model_list import (
    MAX_PAGES,
    Fetch,
    ListedModel,
    as_count,
    as_list,
    as_object,
    build_entry,
    map_words,
    model_name,
    read_entries,
    sort_distinct,
)

# Names of models in OpenAI's list that are not chat models. The list itself does not say so.
_NOT_CHAT_MODELS = re.compile(
    r"embedding|moderation|whisper|^tts-|-tts|dall-e|image|sora|transcribe|realtime|^davinci-|^babbage-"
)
_OTHER_TYPES = re.compile(r"(?i)embed|image|rerank|moderation|audio|speech|transcri|video|tts")
_LIMITS = ("context_length", "context_window", "max_context_length", "max_model_len")
_CAPABILITIES = {
    # OpenRouter's `supported_parameters` and `input_modalities`
    "tools": "tools",
    "reasoning": "reasoning",
    "structured_outputs": "structured-output",
    "image": "images",
    "file": "files",
    "audio": "audio",
    "video": "video",
    # the Vercel gateway's `tags`
    "tool-use": "tools",
    "vision": "images",
    "file-input": "files",
    # Mistral's `capabilities`
    "function_calling": "tools",
}


async def openai_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[ListedModel]:
    """Return OpenAI's own chat models."""
    found = await compatible_models(base_url, headers, fetch)
    return [model for model in found if not _NOT_CHAT_MODELS.search(model.model)]


async def compatible_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[ListedModel]:
    """Return the models of a server with OpenAI's `/models`, with the capabilities that it lists."""
    url: str | None = endpoint_url(base_url, "/models")
    found: list[ListedModel] = []
    for _ in range(MAX_PAGES):
        page = await fetch(url, headers)
        entries = (
            as_list(page) or as_list(as_object(page).get("data")) or as_list(as_object(page).get("models"))
        )
        found += read_entries(entries, _compatible)
        more = as_object(as_object(page).get("links")).get("next")
        if not isinstance(more, str) or not more or not entries:
            break
        url = urljoin(url, more)
        if urlsplit(url).netloc != urlsplit(base_url.strip()).netloc:
            break  # the key is for this server alone
    return sort_distinct(found)


def _compatible(entry: dict[str, Any]) -> ListedModel | None:
    type, architecture = entry.get("type"), as_object(entry.get("architecture"))
    outputs, abilities = as_list(architecture.get("output_modalities")), as_object(entry.get("capabilities"))
    if isinstance(type, str) and _OTHER_TYPES.search(type):
        return None
    if (outputs and "text" not in outputs) or abilities.get("completion_chat") is False:
        return None
    words = [
        *as_list(entry.get("supported_parameters")),
        *as_list(architecture.get("input_modalities")),
        *as_list(entry.get("tags")),
        *[name for name, has in abilities.items() if has is True],
    ]
    limit = next((count for name in _LIMITS if (count := as_count(entry.get(name)))), None)
    return build_entry(model_name(entry), entry.get("name"), limit, map_words(words, _CAPABILITIES))
