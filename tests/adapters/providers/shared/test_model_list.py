"""The lists of models of each kind of provider, as they document them: what is read, what is left out."""

from collections.abc import Mapping
from typing import Any

import pytest

from parley_daemon.adapters.providers.anthropic.model_list import anthropic_models
from parley_daemon.adapters.providers.google.model_list import google_models
from parley_daemon.adapters.providers.openai_chat.model_list import compatible_models, openai_models
from parley_daemon.adapters.providers.shared.model_list import MAX_PAGES, ListedModel

HEADERS = {"Authorization": "Bearer sk-x"}


class Server:
    """Gives its pages one after the other, and remembers what was asked."""

    def __init__(self, *pages: object) -> None:
        self.pages = list(pages)
        self.asked: list[str] = []

    async def __call__(self, url: str, headers: Mapping[str, str]) -> object:
        assert headers == HEADERS
        self.asked.append(url)
        return self.pages[min(len(self.asked), len(self.pages)) - 1]


async def test_openais_list_is_read_without_what_does_not_talk() -> None:
    ids = [
        "gpt-5.2",
        "gpt-4o",
        "o3-mini",
        "gpt-4o-audio-preview",
        "text-embedding-3-small",
        "whisper-1",
        "tts-1",
        "tts-1-hd",
        "dall-e-3",
        "gpt-image-1",
        "omni-moderation-latest",
        "sora-2",
        "gpt-4o-realtime-preview",
        "gpt-4o-mini-tts",
        "babbage-002",
        "gpt-4o-transcribe",
        "chatgpt-4o-latest",
        "ft:gpt-4o:acme",
    ]
    server = Server({"object": "list", "data": [{"id": id, "object": "model", "created": 1} for id in ids]})
    found = await openai_models("https://api.openai.com/v1", HEADERS, server)
    assert server.asked == ["https://api.openai.com/v1/models"]
    assert [one.model for one in found] == [
        "chatgpt-4o-latest",
        "ft:gpt-4o:acme",
        "gpt-4o",
        "gpt-4o-audio-preview",
        "gpt-5.2",
        "o3-mini",
    ]
    assert found[2] == ListedModel("gpt-4o")


async def test_openrouters_list_says_limits_and_capabilities() -> None:
    server = Server(
        {
            "data": [
                {
                    "id": "anthropic/claude-sonnet-4.5",
                    "name": "Anthropic: Claude Sonnet 4.5",
                    "context_length": 1000000,
                    "architecture": {
                        "input_modalities": ["text", "image", "file"],
                        "output_modalities": ["text"],
                    },
                    "supported_parameters": ["tools", "reasoning", "structured_outputs", "temperature"],
                },
                {"id": "x/painter", "architecture": {"output_modalities": ["image"]}},
            ]
        }
    )
    (found,) = await compatible_models("https://openrouter.ai/api/v1", HEADERS, server)
    assert server.asked == ["https://openrouter.ai/api/v1/models"]
    assert found == ListedModel(
        "anthropic/claude-sonnet-4.5",
        "Anthropic: Claude Sonnet 4.5",
        1000000,
        ("tools", "reasoning", "structured-output", "images", "files"),
    )


async def test_the_vercel_gateways_list_holds_other_types_of_models() -> None:
    server = Server(
        {
            "data": [
                {
                    "id": "openai/gpt-5.2",
                    "name": "GPT-5.2",
                    "type": "language",
                    "context_window": 400000,
                    "tags": ["reasoning", "tool-use", "vision", "implicit-caching"],
                },
                {"id": "openai/text-embedding-3-small", "type": "embedding"},
                {"id": "bfl/flux", "type": "image"},
            ]
        }
    )
    (found,) = await compatible_models("https://ai-gateway.vercel.sh/v1", HEADERS, server)
    assert found == ListedModel("openai/gpt-5.2", "GPT-5.2", 400000, ("reasoning", "tools", "images"))


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        # vLLM, llama.cpp (which tells only what it was trained with), LM Studio, Mistral, Groq
        ({"data": [{"id": "m", "max_model_len": 4096}]}, [ListedModel("m", None, 4096)]),
        ({"data": [{"id": "m", "meta": {"n_ctx_train": 131072}}]}, [ListedModel("m")]),
        ({"data": [{"id": "m"}, {"id": "nomic", "type": "embeddings"}]}, [ListedModel("m")]),
        (
            {
                "data": [
                    {
                        "id": "m",
                        "max_context_length": 8,
                        "capabilities": {"completion_chat": True, "vision": True},
                    }
                ]
            },
            [ListedModel("m", None, 8, ("images",))],
        ),
        ({"data": [{"id": "m", "capabilities": {"completion_chat": False}}]}, []),
        ({"data": [{"id": "m", "context_window": 8192, "active": True}]}, [ListedModel("m", None, 8192)]),
        # A list without a frame around it (Together), and one under another name
        ([{"id": "m", "context_length": 7, "type": "chat"}], [ListedModel("m", None, 7)]),
        ({"models": [{"name": "m:8b", "model": "m:8b"}]}, [ListedModel("m:8b", "m:8b")]),
        ({"data": [{"model": "m", "name": "M"}]}, [ListedModel("m", "M")]),
        ({"data": [{"name": "m"}, {"id": None, "model": "n"}]}, [ListedModel("m", "m"), ListedModel("n")]),
        ({"data": [{"id": "m", "model": "other", "name": "M"}]}, [ListedModel("m", "M")]),
        # Odd ones
        ({"data": [{"id": "B"}, {"id": "a"}, {"id": "b"}]}, [ListedModel("a"), ListedModel("b")]),
        ({"data": [{"id": ""}, {"id": 3}, {}, None, "m", {"id": "x" * 600}]}, []),
        ({"data": [{"id": "m", "context_length": -1, "max_model_len": 9}]}, [ListedModel("m", None, 9)]),
        ({"data": [{"id": "m", "context_length": "big", "tags": [3, None]}]}, [ListedModel("m")]),
        ({"data": None}, []),
        ({"error": "no"}, []),
        ("models", []),
        (None, []),
    ],
    ids=lambda one: str(one)[:30],
)
async def test_a_servers_list_is_read_whatever_its_shape(page: object, expected: list[ListedModel]) -> None:
    assert await compatible_models("http://127.0.0.1:8080", HEADERS, Server(page)) == expected


async def test_a_list_in_pages_is_read_to_its_end_and_the_key_goes_to_no_other_server() -> None:
    first = {"data": [{"id": "a"}], "links": {"next": "/api/v1/models?offset=1"}}
    elsewhere = {"data": [{"id": "b"}], "links": {"next": "https://elsewhere.example/models"}}
    server = Server(first, elsewhere)
    found = await compatible_models("https://openrouter.ai/api/v1", HEADERS, server)
    assert [one.model for one in found] == ["a", "b"]
    assert server.asked == [
        "https://openrouter.ai/api/v1/models",
        "https://openrouter.ai/api/v1/models?offset=1",
    ]


async def test_lists_of_gateways_name_their_models_in_other_ways() -> None:
    server = Server({"models": [{"model": "claude-x"}, {"name": "claude-y"}]})
    found = await anthropic_models("https://gateway.test", HEADERS, server)
    assert [one.model for one in found] == ["claude-x", "claude-y"]
    server = Server({"data": [{"id": "models/gemini-x"}, {"model": "gemini-y"}]})
    found = await google_models("https://gateway.test", HEADERS, server)
    assert [one.model for one in found] == ["gemini-x", "gemini-y"]


async def test_anthropics_list_is_read_page_by_page() -> None:
    def entry(id: str, **fields: Any) -> dict[str, Any]:
        return {"type": "model", "id": id, "created_at": "2026-01-01T00:00:00Z", **fields}

    able = {
        "thinking": {"supported": True, "types": None},
        "image_input": {"supported": True},
        "pdf_input": {"supported": False},
        "structured_outputs": {"supported": True},
        "batch": {"supported": True},
    }
    server = Server(
        {
            "data": [
                entry(
                    "claude-sonnet-4-5",
                    display_name="Claude Sonnet 4.5",
                    max_input_tokens=200000,
                    capabilities=able,
                )
            ],
            "has_more": True,
            "last_id": "claude-sonnet-4-5",
        },
        {
            "data": [entry("claude-haiku-4-5", display_name="Claude Haiku 4.5", max_input_tokens=None)],
            "has_more": False,
            "last_id": "x",
        },
    )
    assert await anthropic_models("https://api.anthropic.com", HEADERS, server) == [
        ListedModel("claude-haiku-4-5", "Claude Haiku 4.5"),
        ListedModel(
            "claude-sonnet-4-5", "Claude Sonnet 4.5", 200000, ("reasoning", "images", "structured-output")
        ),
    ]
    assert server.asked == [
        "https://api.anthropic.com/v1/models?limit=1000",
        "https://api.anthropic.com/v1/models?limit=1000&after_id=claude-sonnet-4-5",
    ]


async def test_googles_list_is_read_page_by_page_without_what_generates_no_content() -> None:
    def entry(name: str, *methods: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "supportedGenerationMethods": methods and list(methods), **fields}

    server = Server(
        {
            "models": [
                entry(
                    "models/gemini-2.5-flash",
                    "generateContent",
                    "countTokens",
                    displayName="Gemini 2.5 Flash",
                    inputTokenLimit=1048576,
                    thinking=True,
                ),
                entry("models/text-embedding-004", "embedContent"),
                {"name": "models/odd"},
            ],
            "nextPageToken": "more please",
        },
        {"models": [entry("models/gemma-3", "generateContent", inputTokenLimit=32768)]},
    )
    assert await google_models("https://generativelanguage.googleapis.com", HEADERS, server) == [
        ListedModel("gemini-2.5-flash", "Gemini 2.5 Flash", 1048576, ("reasoning",)),
        ListedModel("gemma-3", None, 32768),
    ]
    base = "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"
    assert server.asked == [base, f"{base}&pageToken=more+please"]


async def test_a_list_without_an_end_is_ended() -> None:
    anthropic = Server({"data": [{"id": "m"}], "has_more": True, "last_id": "m"})
    google = Server({"models": [], "nextPageToken": "again"})
    compatible = Server({"data": [{"id": "m"}], "links": {"next": "/v1/models"}})
    await anthropic_models("http://h", HEADERS, anthropic)
    await google_models("http://h", HEADERS, google)
    await compatible_models("http://h", HEADERS, compatible)
    assert [len(one.asked) for one in (anthropic, google, compatible)] == [MAX_PAGES] * 3
