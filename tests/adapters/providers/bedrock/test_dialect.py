"""Anthropic's models on Bedrock: addresses, signatures, credentials and the event stream."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.providers.anthropic.parser import AnthropicParser
from parley_daemon.adapters.providers.bedrock.access import find_region
from parley_daemon.adapters.providers.bedrock.event_stream import AwsEventStream
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.adapters.providers.shared.response_reader import ResponseReader
from parley_daemon.core.parts import Reasoning, Text, ToolCall, fold
from parley_daemon.core.records import Failure, ModelSettings, Usage
from parley_daemon.ports.models import Chunk, Finish, ModelError, ModelRequest, PromptMessage, UsageReport
from tests.support.providers.anthropic_script import begin, delta, end, text, thinking, tool
from tests.support.providers.aws import (
    ACCESS_KEY,
    SECRET_KEY,
    TOKEN,
    chunk,
    exception,
    frame,
    signature_faults,
)
from tests.support.providers.script import Action, cut, raw, status
from tests.support.providers.server import FakeProvider, Request, fake_provider

MODEL = "us.anthropic.claude-opus-4-6-v1:0"
REGION = {"region": "eu-central-1"}
CALL = Call("bedrock", MODEL, "https://bedrock-runtime.eu-central-1.amazonaws.com/model/x")


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Take away what the machine has of AWS; return the folder where its configuration is looked for."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


def opened(url: str, key: str | None = None, **options: str) -> HttpModel:
    model = TYPES["bedrock"].make_model(Access("bedrock", url, key, options=options, environment=os.environ))
    assert isinstance(model, HttpModel)
    return model


async def chunks(
    server: FakeProvider, key: str | None = None, model: str = MODEL, **options: str
) -> list[Chunk]:
    bedrock = opened(server.origin, key, **{**REGION, **options})
    question = ModelRequest(model, (PromptMessage("user", (Text("Grüße"),)),), "Be brief.", ModelSettings())
    try:
        with anyio.fail_after(30):
            return [part async for batch in bedrock.stream(question) for part in batch]
    finally:
        await bedrock.aclose()


async def failure(server: FakeProvider, key: str | None = None, **options: str) -> Failure:
    with pytest.raises(ModelError) as caught:
        await chunks(server, key, **options)
    return caught.value.failure


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(map(chunk, events))


HELLO = stream(begin(), *text("Hel", "lo"), *end())
HELLO_CHUNKS = [Text("Hello"), UsageReport(Usage(10, 5, 15)), Finish("stop")]


# ------------------------------------------------------------------------- the request


async def sent(key: str | None = None, model: str = MODEL, **options: str) -> Request:
    async with fake_provider((raw(HELLO),)) as server:
        assert await chunks(server, key, model, **options) == HELLO_CHUNKS
        return server.requests[0]


@pytest.mark.usefixtures("keys")
async def test_a_request_names_the_model_in_its_address_and_has_the_dialects_body() -> None:
    request = await sent()
    assert (request.method, request.path) == ("POST", f"/model/{MODEL}/invoke-with-response-stream")
    assert request.headers["accept"] == "application/vnd.amazon.eventstream"
    assert request.headers["content-type"] == "application/json"
    assert "x-api-key" not in request.headers
    mark = {"cache_control": {"type": "ephemeral"}}
    assert request.json == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 32_000,
        "system": [{"type": "text", "text": "Be brief.", **mark}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Grüße", **mark}]}],
    }


PROFILE_ARN = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2c3"


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("model", [MODEL, PROFILE_ARN, "a b+c~d%2Fe"])
async def test_a_request_is_signed_as_it_goes_over_the_wire(model: str) -> None:
    request = await sent(model=model)
    assert signature_faults(request, "eu-central-1") == []
    assert request.path.count("/") == 3


@pytest.mark.usefixtures("keys")
async def test_the_check_of_signatures_finds_what_is_not_signed() -> None:
    request = await sent()
    assert signature_faults(request, "us-east-1")
    assert signature_faults(request, "eu-central-1", TOKEN)
    for name, value in (("host", "other"), ("x-amz-date", "20200101T000000Z"), ("authorization", "Bearer x")):
        changed = Request("POST", request.path, {**request.headers, name: value}, request.body, 0)
        assert signature_faults(changed, "eu-central-1")
    assert signature_faults(Request("POST", "/x", request.headers, request.body, 0), "eu-central-1")
    assert signature_faults(Request("POST", request.path, request.headers, b"{}", 0), "eu-central-1")


@pytest.mark.usefixtures("keys")
async def test_a_sessions_token_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert signature_faults(await sent(), "eu-central-1", TOKEN) == []


async def test_credentials_come_from_the_profile_that_is_named(aws: Path) -> None:
    (aws / "credentials").write_text(
        f"[work]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    (aws / "config").write_text("[profile work]\nregion = us-west-2\n")
    request = await sent(profile="work", region="")
    assert signature_faults(request, "us-west-2") == []


@pytest.mark.usefixtures("keys")
async def test_credentials_that_change_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley_daemon.adapters.providers.bedrock.signing._FRESH", -1.0)
    async with fake_provider((raw(HELLO),), (raw(HELLO),)) as server:
        bedrock = opened(server.origin, **REGION)
        question = ModelRequest(MODEL, (PromptMessage("user", (Text("Hi"),)),))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOLD")
        for key in ("AKIAOLD", ACCESS_KEY):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
            async for _ in bedrock.stream(question):
                pass
        await bedrock.aclose()
        assert "Credential=AKIAOLD/" in server.requests[0].headers["authorization"]
        assert signature_faults(server.requests[1], "eu-central-1") == []


async def test_a_bedrock_key_goes_as_it_is_and_needs_no_other_credentials() -> None:
    for options in ({}, {"region": ""}):
        request = await sent("bedrock-key-canary", **options)
        assert request.headers["authorization"] == "Bearer bedrock-key-canary"
        assert "x-amz-date" not in request.headers


async def test_the_key_in_the_environment_presets_bedrock() -> None:
    async with fake_provider((raw(HELLO),)) as server:
        environment = {
            "AWS_BEARER_TOKEN_BEDROCK": "bedrock-key-canary",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.origin,
        }
        listed = ConfiguredCatalogue([], environment=environment)
        resolved = listed.resolve(f"bedrock:{MODEL}")
        assert resolved.name == MODEL
        question = ModelRequest(resolved.name, (PromptMessage("user", (Text("Hi"),)),))
        async for _ in resolved.model.stream(question):
            pass
        await listed.aclose()
        assert server.requests[0].headers["authorization"] == "Bearer bedrock-key-canary"


def test_a_configured_bedrock_needs_no_key_and_has_its_own_settings() -> None:
    config = ProviderConfig("aws", "bedrock", options={"region": "us-east-1", "profile": "work"})
    assert ConfiguredCatalogue([config]).providers()[0].available
    odd = ProviderConfig("claude", "anthropic", options={"region": "us-east-1"})
    assert not ConfiguredCatalogue([odd]).providers()[0].available


# ----------------------------------------------------------------------------- regions


@pytest.mark.parametrize(
    ("options", "environment", "region"),
    [
        (REGION, {"AWS_REGION": "us-east-1"}, "eu-central-1"),
        ({}, {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-1"),
        ({}, {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
        ({}, {}, "ap-south-1"),
        ({}, {"AWS_PROFILE": "work"}, "us-west-2"),
        ({"profile": "work"}, {"AWS_PROFILE": "none"}, "us-west-2"),
        ({"profile": "none"}, {}, None),
    ],
)
def test_the_region_is_looked_for_where_aws_does(
    aws: Path, options: dict[str, str], environment: dict[str, str], region: str | None
) -> None:
    (aws / "config").write_text("[default]\nregion = ap-south-1\n[profile work]\nregion=us-west-2\n")
    assert find_region(options, {**environment, "AWS_CONFIG_FILE": str(aws / "config")}) == region


@pytest.mark.parametrize("content", [b"region", b"[default", b"\xff\xfe[default]\nregion=x", None])
def test_a_configuration_of_aws_that_cannot_be_read_names_no_region(aws: Path, content: bytes | None) -> None:
    if content is not None:
        (aws / "config").write_bytes(content)
    assert find_region({}, {"AWS_CONFIG_FILE": str(aws / "config")}) is None


def test_the_address_follows_from_the_region() -> None:
    assert "https://bedrock-runtime.eu-central-1.amazonaws.com" in repr(vars(opened("", **REGION)))
    with pytest.raises(
        ValueError, match="no AWS region is set; set region in its configuration, or AWS_REGION"
    ):
        opened("")
    with pytest.raises(ValueError, match='"eu/central" is not an AWS region'):
        opened("", region="eu/central")
    with pytest.raises(ValueError, match="base_url must begin with http"):
        opened("bedrock.test", **REGION)


# ------------------------------------------------------------------------- credentials


async def test_without_credentials_it_is_said_what_to_set() -> None:
    async with fake_provider() as server:
        said = await failure(server)
        assert server.requests == []
    assert (said.kind, said.retryable) == ("missing_key", False)
    assert said.message == (
        'Provider "bedrock" has no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or'
        " AWS_BEARER_TOKEN_BEDROCK for the daemon, or profile in its configuration."
    )


async def test_credentials_that_cannot_be_had_are_a_failure_in_the_chains_words(aws: Path) -> None:
    async with fake_provider() as server:
        said = await failure(server, profile="missing")
        assert (said.kind, said.message) == ("auth", "The AWS credentials of bedrock cannot be loaded.")
        assert said.detail is not None
        assert "missing" in said.detail
        (aws / "config").write_text("[profile broken]\ncredential_process = false\n")
        assert (await failure(server, profile="broken")).kind == "auth"
        assert server.requests == []


async def test_waiting_for_credentials_can_be_cancelled(aws: Path) -> None:
    pipe = aws / "pipe"
    os.mkfifo(pipe)
    (aws / "config").write_text(f"[profile slow]\ncredential_process = cat {pipe}\n")
    writing = -1
    async with fake_provider() as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: chunks(server, profile="slow"))
            # The pipe can be opened once somebody reads it: then the chain is waiting.
            writing = await anyio.to_thread.run_sync(os.open, pipe, os.O_WRONLY)
            tasks.cancel_scope.cancel()
        os.close(writing)  # not before: the call has ended without an answer
        assert server.requests == []


@pytest.mark.usefixtures("keys")
async def test_a_refusal_shows_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    body = {"message": f"The security token {TOKEN} included in the request is expired"}
    async with fake_provider((status(403, body, {"x-amzn-ErrorType": "ExpiredTokenException"}),)) as server:
        said = await failure(server)
    assert (said.kind, said.detail) == (
        "auth",
        "The security token [removed] included in the request is expired",
    )


# --------------------------------------------------------------------- the event stream


def parts(*reads: bytes) -> tuple[Any, ...]:
    """Return the message that the frames in these reads make."""
    reader = ResponseReader(CALL, AnthropicParser(CALL), AwsEventStream())
    said: list[Chunk] = []
    for data in reads:
        said += reader.feed(data)
        if reader.error:
            raise reader.error
        if reader.is_done:
            break
    return fold([part for part in said + reader.end() if not isinstance(part, UsageReport | Finish)])


def broken(*reads: bytes) -> Failure:
    with pytest.raises(ModelError) as caught:
        parts(*reads)
    return caught.value.failure


RICH = stream(
    begin(),
    {"type": "ping"},
    *thinking("hm", "…"),
    *text("Grüße ", "🌍", index=1),
    *tool("t", "f", '{"x":', "1}", index=2),
    *end("tool_use"),
)
RICH_PARTS = (Reasoning("hm…", None, "sig"), Text("Grüße 🌍"), ToolCall("t", "f", {"x": 1}))


def test_reading_any_split_of_the_frames_gives_the_same_message() -> None:
    for at in range(0, len(RICH) + 1, 5):
        assert parts(RICH[:at], RICH[at:]) == RICH_PARTS
    assert parts(*[RICH[at : at + 1] for at in range(len(RICH))]) == RICH_PARTS


def test_large_reads_and_large_frames_are_read_whole() -> None:
    words = ["x" * 100_000, *["word "] * 5000]
    assert parts(stream(begin(), *text(*words), *end())) == (Text("".join(words)),)


def test_an_event_may_stand_in_the_frame_as_it_is() -> None:
    """As aimock sends it."""
    head = {":message-type": "event", ":event-type": "chunk"}
    frames = [frame(head, json.dumps(event).encode()) for event in [begin(), *text("Hello"), *end()]]
    assert parts(b"".join(frames)) == (Text("Hello"),)


def test_frames_of_other_kinds_are_signs_of_life() -> None:
    other = frame({":message-type": "event", ":event-type": "initial-response"}, b"{}")
    reader = ResponseReader(CALL, AnthropicParser(CALL), AwsEventStream())
    assert reader.feed(other) == []
    assert parts(other + RICH) == RICH_PARTS


def test_frames_cut_in_the_middle_of_one_are_bad_stream_before_they_say_why_it_stopped() -> None:
    stopped = len(RICH) - len(stream(end()[1]))
    blocks = len(RICH) - len(stream(*end()))  # between two frames, all blocks are complete here
    for at in range(0, stopped - 1, 7):
        if at != blocks:
            assert broken(RICH[:at]).kind == "bad_stream"
    for at in range(stopped, len(RICH), 7):
        assert parts(RICH[:at]) == RICH_PARTS


@pytest.mark.parametrize(
    "data",
    [
        HELLO[:50] + b"?" + HELLO[51:],
        b"<html><h1>Welcome to nginx</h1></html>",
        b'{"message": "What do you want?"}',
        b"\xff" * 100,
        frame({":message-type": "event", ":event-type": "chunk"}, b"no JSON"),
        frame({":message-type": "event", ":event-type": "chunk"}, b'{"bytes": "?"}'),
        frame({":message-type": "exception"}, b"{"),
        frame({":message-type": "event"}, b"{}", kind=42),
    ],
)
def test_what_is_no_frame_or_no_event_in_a_frame_is_bad_stream(data: bytes) -> None:
    said = broken(data)
    assert (said.kind, said.retryable) == ("bad_stream", True)
    assert said.message == "bedrock sent a stream that cannot be read; check base_url."


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "status_code"),
    [
        (exception("throttlingException", "Too many tokens, wait."), "rate_limit", True, None),
        (exception("modelStreamErrorException", "Sorry."), "overloaded", True, None),
        (
            exception("modelStreamErrorException", "x", originalStatusCode=529, originalMessage="Sorry."),
            "overloaded",
            True,
            529,
        ),
        (exception("modelTimeoutException", "Took too long."), "timeout", True, None),
        (exception("serviceUnavailableException", "Try again."), "overloaded", True, None),
        (exception("internalServerException", "Sorry."), "overloaded", True, None),
        (exception("validationException", "Malformed."), "invalid_request", False, None),
        (exception("validationException", "Input is too long."), "context_length", False, None),
        (
            frame({":message-type": "error", ":error-code": "Throttling", ":error-message": "Wait."}, b""),
            "rate_limit",
            True,
            None,
        ),
        (frame({":message-type": "what"}, b""), "overloaded", True, None),
        (
            stream({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            "overloaded",
            True,
            None,
        ),
    ],
)
def test_an_exception_in_the_stream_is_an_error_after_what_was_said_before(
    error: bytes, kind: str, retryable: bool, status_code: int | None
) -> None:
    reader = ResponseReader(CALL, AnthropicParser(CALL), AwsEventStream())
    assert Text("Hel") in reader.feed(stream(begin(), delta(0, "text_delta", text="Hel")) + error)
    assert reader.error is not None
    said = reader.error.failure
    assert (said.kind, said.retryable, said.status_code) == (kind, retryable, status_code)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("ending", [(), (cut(),)])
async def test_a_response_that_ends_early_is_bad_stream(ending: tuple[Action, ...]) -> None:
    async with fake_provider((raw(HELLO[: -len(stream(end()[1])) - 1]), *ending)) as server:
        assert (await failure(server)).kind == "bad_stream"


# ------------------------------------------------------------------------- the library


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(ValueError, match=r'install it with: pip install "parleyd\[bedrock\]"'):
        opened("", **REGION)


LOADING = """
import json, os, sys, threading, anyio
from parley_daemon.adapters.providers.registry import TYPES, Access
from parley_daemon.core.parts import Text
from parley_daemon.ports.models import ModelError, ModelRequest, PromptMessage

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("botocore."):
            threads.add(threading.current_thread() is threading.main_thread())

async def main():
    access = Access("bedrock", "http://127.0.0.1:1", KEY, options={"region": "us-east-1"})
    model = TYPES["bedrock"].make_model(access)
    await model.warm()
    loaded = "botocore.session" in sys.modules or "botocore.eventstream" in sys.modules
    try:
        async for _ in model.stream(ModelRequest("m", (PromptMessage("user", (Text("Hi"),)),))):
            pass
    except ModelError as error:
        kind = error.failure.kind
    model.dialect.framing()
    await model.aclose()
    print(json.dumps([loaded, sorted(threads), kind]))

threads = set()
sys.meta_path.insert(0, Watch())
anyio.run(main)
"""


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("key", ["None", '"bedrock-key"'])
def test_the_library_is_loaded_beside_the_loop_when_a_model_is_first_asked(key: str) -> None:
    code = LOADING.replace("KEY", key)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [False, [False], "network"]


# ------------------------------------------------------------------------------- its models

PROFILES = {
    "inferenceProfileSummaries": [
        {"inferenceProfileId": MODEL, "inferenceProfileName": "US Claude Opus 4.6", "status": "ACTIVE"},
        {"inferenceProfileId": "us.meta.llama4-maverick-v1:0", "status": "ACTIVE"},
    ],
    "nextToken": "more",
}
MORE_PROFILES = {
    "inferenceProfileSummaries": [{"inferenceProfileId": "eu.anthropic.old-v1:0", "status": "INACTIVE"}]
}
FOUNDATION = {
    "modelSummaries": [
        {
            "modelId": "anthropic.claude-haiku-4-5-v1:0",
            "modelName": "Claude Haiku 4.5",
            "inputModalities": ["TEXT", "IMAGE"],
            "modelLifecycle": {"status": "ACTIVE"},
        },
        {"modelId": "anthropic.claude-v2", "modelLifecycle": {"status": "LEGACY"}},
        {"modelId": "amazon.nova-pro-v1:0", "modelLifecycle": {"status": "ACTIVE"}},
    ]
}


def listing(server: FakeProvider, **environment: str) -> ConfiguredCatalogue:
    config = ProviderConfig("bedrock", "bedrock", options=REGION)
    return ConfiguredCatalogue(
        [config], environment={**os.environ, "AWS_ENDPOINT_URL_BEDROCK": server.origin, **environment}
    )


@pytest.mark.usefixtures("keys")
async def test_profiles_and_models_of_anthropics_are_listed_by_signed_requests() -> None:
    scripts = [(status(200, page),) for page in (PROFILES, MORE_PROFILES, FOUNDATION)]
    async with fake_provider(*scripts) as server:
        catalogue = listing(server)
        with anyio.fail_after(30):
            await catalogue.refresh_models("bedrock")
        assert [
            (one.model, one.display_name, one.capabilities) for one in catalogue.providers()[0].models
        ] == [
            ("anthropic.claude-haiku-4-5-v1:0", "Claude Haiku 4.5", ("images",)),
            (MODEL, "US Claude Opus 4.6", ()),
        ]
        assert [one.path for one in server.requests] == [
            "/inference-profiles?maxResults=1000",
            "/inference-profiles?maxResults=1000&nextToken=more",
            "/foundation-models?byInferenceType=ON_DEMAND&byOutputModality=TEXT",
        ]
        assert [signature_faults(one, REGION["region"]) for one in server.requests] == [[], [], []]


async def test_a_key_of_bedrocks_own_lists_the_models_without_a_signature() -> None:
    async with fake_provider((status(200, {}),), (status(200, FOUNDATION),)) as server:
        catalogue = listing(server, AWS_BEARER_TOKEN_BEDROCK="key-canary")
        with anyio.fail_after(30):
            await catalogue.refresh_models("bedrock")
        assert len(catalogue.providers()[0].models) == 1
        assert {one.headers["authorization"] for one in server.requests} == {"Bearer key-canary"}


@pytest.mark.usefixtures("keys")
async def test_who_may_not_list_the_models_may_still_ask_them() -> None:
    async with fake_provider((status(403, {"message": "not authorized to perform"}),)) as server:
        catalogue = listing(server)
        with anyio.fail_after(30):
            await catalogue.refresh_models("bedrock")
        info = catalogue.providers()[0]
        assert (info.available, info.models) == (True, ())


async def test_without_credentials_the_list_says_what_to_set() -> None:
    async with fake_provider() as server:
        catalogue = listing(server)
        with anyio.fail_after(30):
            await catalogue.refresh_models("bedrock")
        info = catalogue.providers()[0]
        assert (info.available, info.unavailable_reason) == (False, "fetch_failed")
        assert info.unavailable_message is not None
        assert "AWS_ACCESS_KEY_ID" in info.unavailable_message
        assert server.requests == []


async def test_an_address_of_ones_own_has_no_list() -> None:
    config = ProviderConfig("bedrock", "bedrock", "http://127.0.0.1:9", options=REGION)
    catalogue = ConfiguredCatalogue([config])
    with anyio.fail_after(30):
        await catalogue.refresh_models("bedrock")
    assert catalogue.providers()[0].available
