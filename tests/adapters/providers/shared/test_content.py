"""A file in a data URL is asked about as a file with data is, in every dialect."""

import base64
from collections.abc import Callable
from functools import partial

import pytest

from parley_daemon.adapters.providers.anthropic import request as anthropic_request
from parley_daemon.adapters.providers.bedrock.dialect import BedrockMessages
from parley_daemon.adapters.providers.google import request as google_request
from parley_daemon.adapters.providers.openai_chat import request as chat_request
from parley_daemon.adapters.providers.openai_responses import request as responses_request
from parley_daemon.adapters.providers.shared.content import describe_file
from parley_daemon.core.parts import File, Text
from parley_daemon.ports.models import ModelRequest, PromptMessage

DIALECTS: dict[str, Callable[[ModelRequest], bytes]] = {
    **{
        flavour.group: partial(chat_request.build_body, flavour=flavour, provider="x")
        for flavour in (
            chat_request.OPENAI,
            chat_request.COMPATIBLE,
            chat_request.OPENROUTER,
            chat_request.VERCEL,
        )
    },
    "responses": partial(responses_request.build_body, provider="x"),
    "anthropic": partial(anthropic_request.build_body, provider="x"),
    "google": partial(google_request.build_body, provider="x"),
}
HI = Text("What is it?")


def request(file: File) -> ModelRequest:
    """Return a question about a file that an answer has shown and a person shows again."""
    return ModelRequest(
        "m",
        (
            PromptMessage("user", (HI,)),
            PromptMessage("assistant", (Text("This:"), file)),
            PromptMessage("user", (HI, file)),
        ),
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "media_type", ["image/png", "application/pdf", "audio/wav", "text/plain", "application/zip"]
)
def test_a_data_url_is_sent_as_data_is(dialect: str, media_type: str) -> None:
    build, data = DIALECTS[dialect], base64.b64encode(b"a file").decode()
    sent = build(request(File(media_type, None, f"data:{media_type};base64,{data}", "a.x")))
    assert sent == build(request(File(media_type, data, None, "a.x")))


async def test_bedrock_gets_data_for_a_data_url() -> None:
    bedrock = BedrockMessages("bedrock", "https://bedrock.test", None)
    question = await bedrock.build_request(request(File("image/png", None, "data:image/png;base64,aGk=")))
    assert b'{"type":"base64","media_type":"image/png","data":"aGk="}' in question.body
    assert b"data:" not in question.body


TEXT = base64.b64encode("a b,ü".encode()).decode()


@pytest.mark.parametrize(
    ("url", "data"),
    [
        (f"data:text/plain;base64,{TEXT}", TEXT),
        (f"DATA:text/plain;charset=utf-8;BASE64,{TEXT}", TEXT),
        (f"data:text/plain;base64,{TEXT.rstrip('=')}", TEXT),
        (f"data:text/plain;base64,{TEXT[:4]}\n {TEXT[4:].replace('=', '%3D')}", TEXT),
        ("data:text/plain;charset=utf-8,a%20b,%C3%BC", TEXT),
        ("data:,a b,ü", TEXT),
        ("data:,a\ud83c", base64.b64encode("a\ufffd".encode()).decode()),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_data_urls_are_read_however_they_are_written(dialect: str, url: str, data: str) -> None:
    build = DIALECTS[dialect]
    assert build(request(File("text/plain", None, url))) == build(request(File("text/plain", data)))


@pytest.mark.parametrize("url", ["data:", "data:image/png;base64", "data:image/png;base64,", "data:aGk="])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_data_url_without_data_is_only_mentioned(dialect: str, url: str) -> None:
    sent = DIALECTS[dialect](request(File("image/png", None, url, "a.png"))).decode()
    assert sent.count("[File a.png, image/png]") == 2
    assert "data:" not in sent


def test_a_mention_shows_no_data() -> None:
    assert (
        describe_file(File("audio/wav", None, "data:audio/wav;base64,aGk="))
        == "[File without a name, audio/wav]"
    )
    assert describe_file(File("audio/wav", None, "Data:,a", "a.wav")) == "[File a.wav, audio/wav]"
