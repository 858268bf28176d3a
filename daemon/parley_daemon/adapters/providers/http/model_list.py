"""The lists of models that providers give, one function for each kind. Knows no connection and no provider.

Lists hold more than models to talk to; what says of itself that it is none is left out. Any name can be
asked, listed or not.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import msgspec

from parley_daemon.adapters.providers.http.endpoints import endpoint

MOST_MODELS = 5_000
MOST_PAGES = 20
_LONGEST_NAME = 512

Fetch = Callable[[str, Mapping[str, str]], Awaitable[object]]
"""Gets the JSON behind a URL with these headers; raises ModelError."""


class Listed(msgspec.Struct, frozen=True, gc=False):
    """A model of a list. `capabilities` are words of ours, as far as the list says them."""

    model: str
    display_name: str | None = None
    context_limit: int | None = None
    capabilities: tuple[str, ...] = ()


# ---------------------------------------------------------------- OpenAI's, and those of all its likes

# What OpenAI lists beside its models for text, which say nothing of it.
_NO_TALKERS = re.compile(
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


async def openai_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[Listed]:
    """Return OpenAI's own models, those that talk."""
    found = await compatible_models(base_url, headers, fetch)
    return [one for one in found if not _NO_TALKERS.search(one.model)]


async def compatible_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[Listed]:
    """Return the models of a server with OpenAI's `/models`, whatever more it says of them."""
    url: str | None = endpoint(base_url, "/models")
    found: list[Listed] = []
    for _ in range(MOST_PAGES):
        page = await fetch(url, headers)
        entries = _items(page) or _items(_fields(page).get("data")) or _items(_fields(page).get("models"))
        found += _read(entries, _compatible)
        more = _fields(_fields(page).get("links")).get("next")
        if not isinstance(more, str) or not more or not entries:
            break
        url = urljoin(url, more)
        if urlsplit(url).netloc != urlsplit(base_url.strip()).netloc:
            break  # the key is for this server alone
    return _distinct(found)


def _compatible(entry: dict[str, Any]) -> Listed | None:
    type, architecture = entry.get("type"), _fields(entry.get("architecture"))
    outputs, abilities = _items(architecture.get("output_modalities")), _fields(entry.get("capabilities"))
    if isinstance(type, str) and _OTHER_TYPES.search(type):
        return None
    if (outputs and "text" not in outputs) or abilities.get("completion_chat") is False:
        return None
    said = [
        *_items(entry.get("supported_parameters")),
        *_items(architecture.get("input_modalities")),
        *_items(entry.get("tags")),
        *[name for name, has in abilities.items() if has is True],
    ]
    limit = next((one for name in _LIMITS if (one := _count(entry.get(name)))), None)
    return _listed(
        entry.get("id") or entry.get("name"), entry.get("name"), limit, _words(said, _CAPABILITIES)
    )


# ------------------------------------------------------------------------------------ Anthropic's

_ANTHROPIC = {
    "thinking": "reasoning",
    "image_input": "images",
    "pdf_input": "files",
    "structured_outputs": "structured-output",
}


async def anthropic_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[Listed]:
    """Return Anthropic's models. `headers` hold the key and the API's version."""
    url, after = endpoint(base_url, "/models"), ""
    found: list[Listed] = []
    for _ in range(MOST_PAGES):
        page = _fields(await fetch(_with(url, limit="1000", after_id=after), headers))
        found += _read(_items(page.get("data")), _anthropic)
        after = page.get("last_id") if page.get("has_more") is True else ""
        if not isinstance(after, str) or not after:
            break
    return _distinct(found)


def _anthropic(entry: dict[str, Any]) -> Listed | None:
    abilities = _fields(entry.get("capabilities"))
    said = [name for name, value in abilities.items() if _fields(value).get("supported") is True]
    limit = _count(entry.get("max_input_tokens"))
    return _listed(entry.get("id"), entry.get("display_name"), limit, _words(said, _ANTHROPIC))


# --------------------------------------------------------------------------------------- Google's


async def google_models(base_url: str, headers: Mapping[str, str], fetch: Fetch) -> Sequence[Listed]:
    """Return Google's models that generate content. `headers` hold the key."""
    url, token = endpoint(base_url, "/models", version="v1beta"), ""
    found: list[Listed] = []
    for _ in range(MOST_PAGES):
        page = _fields(await fetch(_with(url, pageSize="1000", pageToken=token), headers))
        found += _read(_items(page.get("models")), _google)
        token = page.get("nextPageToken")
        if not isinstance(token, str) or not token:
            break
    return _distinct(found)


def _google(entry: dict[str, Any]) -> Listed | None:
    name = entry.get("name")
    if "generateContent" not in _items(entry.get("supportedGenerationMethods")) or not isinstance(name, str):
        return None
    limit = _count(entry.get("inputTokenLimit"))
    reasons = ("reasoning",) if entry.get("thinking") is True else ()
    return _listed(name.removeprefix("models/"), entry.get("displayName"), limit, reasons)


# --------------------------------------------------------------------------------------- Bedrock's


async def bedrock_models(
    base_url: str, headers: Callable[[str], Awaitable[Mapping[str, str]]], fetch: Fetch
) -> Sequence[Listed]:
    """Return Anthropic's models on Bedrock: the profiles of the region, and what is there without one.

    `base_url` is the control plane's; `headers` identify for a URL.
    """
    found: list[Listed] = []
    token = ""
    for _ in range(MOST_PAGES):
        url = _with(f"{base_url}/inference-profiles", maxResults="1000", nextToken=token)
        page = _fields(await fetch(url, await headers(url)))
        found += _read(_items(page.get("inferenceProfileSummaries")), _profile)
        token = page.get("nextToken")
        if not isinstance(token, str) or not token:
            break
    url = _with(f"{base_url}/foundation-models", byInferenceType="ON_DEMAND", byOutputModality="TEXT")
    page = _fields(await fetch(url, await headers(url)))
    found += _read(_items(page.get("modelSummaries")), _foundation_model)
    return _distinct(found)


def _profile(entry: dict[str, Any]) -> Listed | None:
    name = entry.get("inferenceProfileId")
    if not isinstance(name, str) or ".anthropic." not in name or entry.get("status") != "ACTIVE":
        return None
    return _listed(name, entry.get("inferenceProfileName"), None, ())


def _foundation_model(entry: dict[str, Any]) -> Listed | None:
    name, age = entry.get("modelId"), _fields(entry.get("modelLifecycle")).get("status")
    if not isinstance(name, str) or not name.startswith("anthropic.") or age not in (None, "ACTIVE"):
        return None
    images = ("images",) if "IMAGE" in _items(entry.get("inputModalities")) else ()
    return _listed(name, entry.get("modelName"), None, images)


# ------------------------------------------------------------------------------- what they share


def _read(entries: Iterable[object], read: Callable[[dict[str, Any]], Listed | None]) -> Sequence[Listed]:
    return [one for entry in entries if (one := read(_fields(entry))) is not None]


def _distinct(models: Iterable[Listed]) -> Sequence[Listed]:
    """Return each model once, upper and lower case being the same, by name."""
    found = {one.model.casefold(): one for one in models}
    return sorted(found.values(), key=lambda one: one.model)[:MOST_MODELS]


def _listed(name: object, shown: object, limit: int | None, words: tuple[str, ...]) -> Listed | None:
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME:
        return None
    display = shown.strip() if isinstance(shown, str) else ""
    return Listed(name, display[:_LONGEST_NAME] or None, limit, words)


def _words(said: Iterable[object], known: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([known[word] for word in said if isinstance(word, str) and word in known]))


def _with(url: str, **query: str) -> str:
    parts = urlsplit(url)
    pairs = [*parse_qsl(parts.query), *[(name, value) for name, value in query.items() if value]]
    return urlunsplit(parts._replace(query=urlencode(pairs)))


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 2**53 else None


def _items(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
