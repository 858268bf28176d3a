"""Where endpoints are under the address that somebody gave."""

import pytest

from parley_daemon.adapters.providers.http.endpoints import endpoint_url, without_version


@pytest.mark.parametrize(
    ("base_url", "chat", "models"),
    [
        ("https://h", "https://h/v1/chat/completions", "https://h/v1/models"),
        (" https://h/v1/ ", "https://h/v1/chat/completions", "https://h/v1/models"),
        ("http://h:1/api/v0", "http://h:1/api/v0/chat/completions", "http://h:1/api/v0/models"),
        ("https://h/v1beta/openai", "https://h/v1beta/openai/chat/completions", "https://h/v1beta/openai/models"),
        ("https://h/v1/chat/completions", "https://h/v1/chat/completions", "https://h/v1/models"),
        (
            "https://models.github.ai/inference/chat/completions",
            "https://models.github.ai/inference/chat/completions",
            "https://models.github.ai/inference/models",
        ),
        ("https://h/a/chat/completions/?k=1", "https://h/a/chat/completions?k=1", "https://h/a/models?k=1"),
        ("https://h/v1/responses", "https://h/v1/chat/completions", "https://h/v1/models"),
        ("https://h/chat", "https://h/chat/v1/chat/completions", "https://h/chat/v1/models"),
    ],
)  # fmt: skip
def test_a_base_may_have_its_version_or_be_a_whole_endpoint(base_url: str, chat: str, models: str) -> None:
    assert endpoint_url(base_url, "/chat/completions") == chat
    assert endpoint_url(base_url, "/models") == models
    assert endpoint_url(base_url, "") == base_url.strip().replace("/?", "?").rstrip("/")


@pytest.mark.parametrize("base_url", ["h:80", "ftp://h", "https://", "https://h:port", ""])
def test_what_is_no_address_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url|Port|port"):
        endpoint_url(base_url, "/models")


def test_an_endpoint_is_named_without_its_version() -> None:
    assert without_version("https://h/a/v1/chat/completions") == "https://h/a/chat/completions"
    assert without_version("https://h/v1/messages") == "https://h/messages"
    for url in ("https://h/a/chat/completions", "https://h/v1/models", "https://h/v1/chat"):
        assert without_version(url) is None
