"""The URLs of endpoints below a base URL."""

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
def test_a_base_url_may_include_a_version_or_an_endpoint(base_url: str, chat: str, models: str) -> None:
    assert endpoint_url(base_url, "/chat/completions") == chat
    assert endpoint_url(base_url, "/models") == models
    assert endpoint_url(base_url, "") == base_url.strip().replace("/?", "?").rstrip("/")


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://h:8080", "http://h:8080/v1/chat/completions"),
        ("http://h:8080/", "http://h:8080/v1/chat/completions"),
        ("http://h:8080/v1", "http://h:8080/v1/chat/completions"),
        (" http://h:8080/v1/ ", "http://h:8080/v1/chat/completions"),
        ("https://x/openai/v1/", "https://x/openai/v1/chat/completions"),
        ("https://x/openai", "https://x/openai/v1/chat/completions"),
        ("https://x/api/paas/v4", "https://x/api/paas/v4/chat/completions"),
        ("https://x/v1beta/openai/", "https://x/v1beta/openai/chat/completions"),
        ("https://x/chat/completions", "https://x/chat/completions"),
        ("https://x/v1/chat/completions/", "https://x/v1/chat/completions"),
        ("https://x/v1?api-version=1", "https://x/v1/chat/completions?api-version=1"),
        ("http://[::1]:80", "http://[::1]:80/v1/chat/completions"),
    ],
)
def test_a_base_url_may_be_given_with_or_without_its_version(base_url: str, expected: str) -> None:
    assert endpoint_url(base_url, "/chat/completions") == expected


@pytest.mark.parametrize(
    "base_url",
    [
        "h:80",
        "localhost:8080",
        "ftp://h",
        "https://",
        "http://",
        "/v1",
        "https://h:port",
        "",
        "http://a host",
    ],
)
def test_a_base_url_that_is_not_an_http_url_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url|Port|port"):
        endpoint_url(base_url, "/models")


def test_without_version_removes_the_version_of_an_endpoint() -> None:
    assert without_version("https://h/a/v1/chat/completions") == "https://h/a/chat/completions"
    assert without_version("https://h/v1/messages") == "https://h/messages"
    for url in ("https://h/a/chat/completions", "https://h/v1/models", "https://h/v1/chat"):
        assert without_version(url) is None
