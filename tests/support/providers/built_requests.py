"""The bodies that the dialects build, as a fake provider would get them."""

import json
from typing import Any

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.ports.models import ModelRequest

DIALECT_OF = {
    "openai": "responses",
    "azure": "responses",
    "openai-compat": "chat",
    "openrouter": "chat",
    "vercel": "chat",
    "anthropic": "anthropic",
    "bedrock": "anthropic",
    "google": "google",
}
"""The dialect of each provider type (see strict_requests)."""

MODELS = {"chat": "llama", "responses": "gpt-5", "anthropic": "claude-opus-4-5", "google": "gemini-3-pro"}


def make_model(type: str, **options: str) -> HttpModel:
    """Return the model of a provider of a type."""
    environment = {"AWS_REGION": "eu-west-1"}
    access = Access("p", "https://api.example.org", "key", environment=environment, options=options)
    made = TYPES[type].make_model(access)
    assert isinstance(made, HttpModel)
    return made


async def build(type: str, request: ModelRequest) -> dict[str, Any]:
    """Return the body of a request to a provider of this type."""
    return json.loads((await make_model(type).dialect.build_request(request)).body)
