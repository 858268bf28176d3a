"""The table from what a provider says when it fails to what a person is told."""

import json
import re
import time
from email.utils import formatdate
from html import escape
from typing import Any
from urllib.parse import quote

import pytest

from parley_daemon.adapters.providers.http.endpoints import is_local
from parley_daemon.adapters.providers.http.failures import Call, retry_hint
from parley_daemon.adapters.providers.http.redaction import redact
from parley_daemon.core.records import Failure

KEY = "canary-key-0123456789"
CALL = Call("acme", "gpt-9", "https://api.acme.test/v1/chat/completions", (KEY,), has_key=True)


def refused(
    status: int, body: Any = None, headers: dict[str, str] | None = None, call: Call = CALL
) -> Failure:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return call.error_from_status(status, headers or {}, data).failure


def openai(message: str, type: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


WHOLE = "If the URLs of this server have no /v1, set base_url to the full URL: https://api.acme.test/chat/completions"
QUOTA = "You exceeded your current quota, please check your plan and billing details."


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (400, None, "invalid_request", False),
        (401, None, "auth", False),
        (402, None, "usage_limit", False),
        (403, None, "auth", False),
        (404, None, "invalid_request", False),
        (405, None, "invalid_request", False),
        (408, None, "timeout", True),
        (409, None, "rate_limit", True),
        (413, None, "invalid_request", False),
        (418, None, "invalid_request", False),
        (422, None, "invalid_request", False),
        (429, None, "rate_limit", True),
        (500, None, "overloaded", True),
        (501, None, "overloaded", False),
        (502, None, "network", True),
        (503, None, "overloaded", True),
        (504, None, "timeout", True),
        (524, None, "timeout", True),
        (529, None, "overloaded", True),
        (307, None, "invalid_request", False),
        (429, openai(QUOTA, "insufficient_quota", "insufficient_quota"), "usage_limit", False),
        (429, openai("Your account is not active", code="billing_not_active"), "usage_limit", False),
        (429, openai(QUOTA), "usage_limit", False),
        (429, openai(QUOTA + " Please retry in 36.2s."), "rate_limit", True),
        (429, openai("Rate limit reached for gpt-9: 3 requests per min", "requests"), "rate_limit", True),
        (429, openai("Request too large: tokens per min, reduce the length"), "rate_limit", False),
        (403, openai("Your quota is used up"), "usage_limit", False),
        (400, openai("Your credit balance is too low to access the API."), "usage_limit", False),
        (402, openai("Insufficient Balance"), "usage_limit", False),
        (400, openai("This model's maximum context length is 8192 tokens."), "context_length", False),
        (400, openai("x", code="context_length_exceeded"), "context_length", False),
        (400, openai("the request exceeds the available context size"), "context_length", False),
        (500, openai("Requested tokens (9) exceed context window of 8"), "context_length", False),
        (500, {"error": "Your prompt was flagged by our content policy"}, "content_filter", False),
        (502, openai("No upstream; mind our content policy"), "network", True),
        (502, openai("Provider said no", code="context_length_exceeded"), "context_length", False),
        (503, openai("no capacity; see content policy"), "overloaded", True),
        (503, openai("The context window cache is not ready"), "overloaded", True),
        (504, openai("The content filter did not answer"), "timeout", True),
        (529, openai("Overloaded; see our content policy"), "overloaded", True),
        (413, openai("prompt is too long: 9 tokens > 8 maximum"), "context_length", False),
        (400, openai("Your request was flagged by our safety system"), "content_filter", False),
        (400, openai("x", code="content_filter"), "content_filter", False),
        (403, openai("Input was flagged for violence"), "content_filter", False),
        (400, openai("The input text may contain sensitive information."), "content_filter", False),
        (400, openai("系统检测到输入可能包含不安全或敏感内容", code="1301"), "content_filter", False),
        (400, openai("Your request was rejected", code="moderation_blocked"), "content_filter", False),
        (400, openai("Input blocked by guardrail"), "content_filter", False),
        (400, openai("This prompt violates our terms of service"), "content_filter", False),
        (404, openai("The model `gpt-9` does not exist", code="model_not_found"), "model_not_found", False),
        (404, {"error": 'model "gpt-9" not found, try pulling it first'}, "model_not_found", False),
        (404, {"error": "gpt-9 is not here"}, "model_not_found", False),
        (404, {"detail": "Not Found"}, "invalid_request", False),
        (403, openai("No access to gpt-9", code="model_not_found"), "model_not_found", False),
        (400, openai("gpt-9 is not a valid model ID"), "model_not_found", False),
        (400, openai("API key not valid. Please pass a valid API key."), "auth", False),
        (400, openai("Incorrect API key provided"), "auth", False),
        (400, openai("temperature must be below 2"), "invalid_request", False),
    ],
)  # fmt: skip
def test_statuses_and_words_mean_kinds(status: int, body: Any, kind: str, retryable: bool) -> None:
    failure = refused(status, body)
    assert (failure.kind, failure.retryable, failure.status_code) == (kind, retryable, status)
    assert failure.provider == "acme"


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (openai("Overloaded; see our content policy", "overloaded_error"), "overloaded", True),
        (openai("There is no capacity for this", code="content_filter"), "content_filter", False),
        (openai("Unavailable with so many tokens", code="context_length_exceeded"), "context_length", False),
        ({"error": {"message": "see our content policy", "code": 503}}, "overloaded", True),
    ],
)
def test_in_a_stream_the_code_goes_before_words(error: Any, kind: str, retryable: bool) -> None:
    failure = CALL.error_from_object(error).failure
    assert (failure.kind, failure.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    "words",
    [
        "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
        "jinja2.exceptions.TemplateError: System role not supported",
        "Value is not callable: null at row 1, column 2: {{ raise_exception('No.') }}",
        "Failed to apply the chat template: unknown role",
    ],
)
def test_a_chat_template_that_refuses_the_messages_is_quoted_and_not_asked_again(words: str) -> None:
    failure = refused(500, openai(words, "server_error"))
    assert (failure.kind, failure.retryable) == ("invalid_request", False)
    assert words.split(":")[0] in failure.message


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (
            500,
            "\n------------\nWhile executing CallExpression at line 19, column 27 in source:\n...{{ "
            + "x" * 300
            + " }}...\nError: Jinja Exception: Roles must alternate.",
            "Roles must alternate.",
        ),
        (500, "While executing FilterExpression at line 1 in source: Unknown filter", "While executing"),
        (502, "upstream: Jinja Exception: No user query found", "No user query found."),
        (400, "raise_exception('Only user and assistant roles are supported!')", "Only user and assistant"),
    ],
)
def test_the_words_of_a_chat_template_are_in_the_message(status: int, said: str, reason: str) -> None:
    body = json.dumps({"error": {"code": status, "message": said, "type": "server_error"}}).encode()
    for error in (CALL.error_from_status(status, {}, body), CALL.error_from_object({"message": said})):
        assert (error.failure.kind, error.failure.retryable) == ("invalid_request", False)
        assert reason in error.failure.message


@pytest.mark.parametrize(
    ("words", "of_provider"),
    [
        ("Your account reached max request concurrency: 3", True),
        ("Too many requests for this API key", True),
        ("The limit of 60 requests per minute across models is reached", True),
        ("Rate limit reached for gpt-9 of your account", False),
        ("Rate limit reached for your organization", False),  # usually counted by model
        ("Slow down", False),
    ],
)
def test_a_limit_is_one_of_the_provider_only_if_the_error_says_so(words: str, of_provider: bool) -> None:
    body = json.dumps(openai(words)).encode()
    assert CALL.error_from_status(429, {"retry-after": "9"}, body).of_provider is of_provider
    assert CALL.error_from_object({"code": 429, **openai(words)}).of_provider is of_provider


def test_a_models_name_is_not_read_as_a_reason() -> None:
    call = Call("acme", "quota-flagged-by-billing", CALL.url)
    body = openai("quota-flagged-by-billing: temperature must be below 2")
    assert refused(400, body, call=call).kind == "invalid_request"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (openai("No."), "No."),
        ({"error": "No."}, "No."),
        ({"detail": "No."}, "No."),
        ({"message": "No."}, "No."),
        ({"error": {"code": 400, "status": "BAD", "message": "No."}}, "No."),
        ({"errors": [{"message": "No."}]}, "No."),
        ([{"error": {"message": "No."}}], "No."),
        ({"object": "error", "message": "No.", "type": "BadRequestError", "code": 400}, "No."),
        ({"error": {"message": "Provider error", "metadata": {"raw": "No."}}}, "Provider error: No."),
        (
            {"error": {"message": "Provider error", "metadata": {"raw": {"error": {"message": "No."}}}}},
            "Provider error: No.",
        ),
        ({"detail": [{"loc": ["body", "n"], "msg": "No.", "input": "THE PROMPT"}]}, "body.n: No."),
        (b"  No.\r\n Really. ", "No. Really."),
        (b"<html><head><title>Bad gateway</title></head><h1>nginx</h1></html>", "Bad gateway: nginx"),
        ({"strange": {"shape": 1}}, '{"strange": {"shape": 1}}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", None),
        (b"null", None),
        (b"[]", None),
    ],
)  # fmt: skip
def test_the_detail_is_what_the_provider_said(body: Any, detail: str | None) -> None:
    assert refused(400, body).detail == detail


def test_the_detail_is_cut_to_500_characters() -> None:
    for body in (openai("No. " * 1000), b"No. " * 1000, b"<html>" + b"No. " * 1000):
        detail = refused(400, body).detail
        assert detail is not None
        assert len(detail) == 500
        assert detail.endswith("…")


@pytest.mark.parametrize(
    "said",
    [
        f"Incorrect API key provided: {KEY}.",
        f"x{KEY}y",
        "Authorization: Bearer other-canary-123456",
        "bearer other-canary-123456",
        "use https://canary:secret@proxy.test/v1",
        "GET https://api.test/v1?key=canary-0123456&x=1",
        "Incorrect API key provided: sk-canary*******wxyz",
        "sk-proj-canary0123456789",
        '{"x-api-key": "canary0123456789"}',
        "AIzaSyCanary0123456789canary",
        "xai-canary0123456789",
    ],
)
def test_secrets_are_removed_from_what_is_quoted(said: str) -> None:
    for body in (openai(said), said.encode(), b"<html><p>" + said.encode() + b"</p>"):
        failure = refused(400, body)
        assert failure.detail is not None
        assert "[removed]" in failure.detail
        assert "canary" not in repr(failure).lower()


@pytest.mark.parametrize(
    "words",
    [
        "a.",
        "a-",
        "a+",
        "a://",
        "api-key",
        "bearer ",
        "again in 1s ",
        "<script",
        "<style>",
        "<head>",
        "<title",
    ],
)
def test_reading_what_is_quoted_takes_no_longer_than_its_length_explains(words: str) -> None:
    def seconds(length: int) -> float:
        body = (words * length)[:length].encode()

        def once() -> float:
            begun = time.thread_time()
            refused(400, body)
            refused(400, b"<html>" + body)
            return time.thread_time() - begun

        return min(once() for _ in range(5))

    assert seconds(8000) < 24 * seconds(1000)  # 8 times as long, or 64 times if it were quadratic


ODD_KEY = "tok/en+\"se\\cret&'<canary>~abc="


@pytest.mark.parametrize(
    "written",
    [
        ODD_KEY.replace("/", "\\/"),
        json.dumps(ODD_KEY),
        json.dumps(json.dumps(ODD_KEY)),
        json.dumps(json.dumps(ODD_KEY).replace("/", "\\/")),
        "".join([one if one.isalnum() else f"\\u{ord(one):04X}" for one in ODD_KEY]),
        quote(ODD_KEY, safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(ODD_KEY)),
        quote(quote(ODD_KEY, safe=""), safe=""),
        escape(ODD_KEY),
        ODD_KEY.replace("/", "&#x2F;").replace("+", "&#43;"),
    ],
)
def test_a_secret_is_removed_however_its_signs_are_written(written: str) -> None:
    shown = redact(f"before {written} after", ("short", ODD_KEY))
    assert re.fullmatch(r'before [\\"]*\[removed\][\\"]* after', shown)


def test_of_two_secrets_the_longer_one_is_removed_whole() -> None:
    assert redact("canary-key-and-more", ("canary-key", "canary-key-and-more")) == "[removed]"


def test_of_a_web_page_the_title_and_the_text_are_quoted() -> None:
    head = "<title>Bad gateway</title><style>p {}</style>"
    for page in (
        f"<html><head>{head}</head><body><p>Sorry.</p><script>x()</script></body></html>",
        f"<html><head>{head}<body>Sorry.<script>x() // cut",
        f"<!doctype html><head>{head}</head><p class='a'>Sorry.",
    ):
        assert refused(502, page.encode()).detail == "Bad gateway: Sorry."


def test_a_key_at_the_place_of_the_cut_is_not_shown_in_half() -> None:
    for before in range(470, 505):
        failure = refused(400, openai("x" * before + " " + KEY))
        assert "canary" not in (failure.detail or "")


def test_a_key_in_the_address_is_not_shown() -> None:
    call = Call("acme", "m", "https://user:canary@h.test:1/v1/chat/completions?key=canary")
    assert call.origin == "https://h.test:1"
    for status in (307, 404, 405, 407):
        assert "canary" not in repr(refused(status, call=call))


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (401, None, None, "acme does not accept the configured API key."),
        (403, None, None, "acme does not allow this request with this API key."),
        (402, None, None, "The account at acme has no quota or credit left; check its plan and billing."),
        (429, None, None, "The rate limit of acme is reached; try again in a moment."),
        (429, None, {"retry-after": "7"}, "The rate limit of acme is reached; try again in 7 s."),
        (404, openai("model"), None, 'acme has no model "gpt-9".'),
        (404, None, None, f"There is no chat API at {CALL.url}; check base_url. {WHOLE}"),
        (405, None, None, f"{CALL.url} does not accept POST requests; check base_url. {WHOLE}"),
        (400, openai("context length"), None, "This chat does not fit into the context window of gpt-9."),
        (503, None, None, "acme is overloaded at the moment."),
        (500, None, None, "acme failed while it was working on the answer."),
        (504, None, None, "acme reports a timeout: its model did not answer in time."),
        (302, None, None, "https://api.acme.test redirects to another address; check base_url."),
    ],
)  # fmt: skip
def test_the_message_is_a_sentence_to_act_on(
    status: int, body: Any, headers: dict[str, str] | None, message: str
) -> None:
    assert refused(status, body, headers).message == message


LONG = "Unsupported parameter: 'max_tokens'. " + "Use this one. " * 30


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (openai("Unsupported parameter: 'max_tokens'"), ": Unsupported parameter: 'max_tokens'."),
        (openai("No.\n  Ask for\r\nless!"), ": No. Ask for less!"),
        (openai(f"The key {KEY} may not, see https://a:{KEY}@h.test"), None),
        (openai(KEY), ": [removed]."),
        (b"Bad request", ": Bad request."),
        (b"<html><title>400</title>Bad <b>request</b></html>", ": 400 Bad request."),
        ({"error": {"code": "bad_thing"}}, "."),
        ({"strange": {"shape": 1}}, "."),
        (openai("[{'type': 'json_invalid'}]"), "."),
        (openai("  "), "."),
        (None, "."),
        (openai(LONG), ": " + LONG[:240].rpartition(".")[0] + "."),
        (openai("word " * 100), ": " + "word " * 48 + "…"),
        (openai("x" * 500), ": " + "x" * 240 + " …"),
    ],
)
def test_what_only_the_provider_knows_is_quoted_in_the_message(body: Any, why: str | None) -> None:
    failure = refused(400, body)
    assert failure.kind == "invalid_request"
    assert "canary" not in repr(failure)
    assert why is None or failure.message == f"acme refused the request{why}"


def test_without_a_key_a_refusal_says_that_none_is_configured() -> None:
    call = Call("acme", "m", CALL.url)
    assert refused(401, call=call).message == "acme requires an API key, but none is configured."


def test_where_the_whole_endpoint_was_given_that_is_no_advice() -> None:
    call = Call("acme", "m", "https://h.test/inference/chat/completions")
    assert refused(404, call=call).message == f"There is no chat API at {call.url}; check base_url."


def test_without_a_key_a_denial_says_so() -> None:
    call = Call("acme", "m", CALL.url)
    said = "acme does not allow this request; no API key is configured."
    assert refused(403, b"Forbidden", call=call).message == said


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ({}, "", None),
        ({"retry-after": "3"}, "", 3000),
        ({"retry-after": "0.5"}, "", 500),
        ({"retry-after": "0"}, "", 0),
        ({"retry-after-ms": "120"}, "", 120),
        ({"retry-after-ms": "120", "retry-after": "3"}, "", 120),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, "", 90_000),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, "", 0),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-5"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "soon"}, "Please try again in 2s", 2000),
        ({}, "Rate limit reached. Please try again in 1.5s. See the docs.", 1500),
        ({}, "Please try again in 20ms.", 20),
        ({}, "Please try again in 6m0s.", 360_000),
        ({}, "try again in 1h2m3.5s", 3_723_500),
        ({}, "Try again in 17 seconds", 17_000),
        ({}, "Please retry after 2 minutes", 120_000),
        ({}, "Please retry in 36.2s.", 36_200),
        ({}, "never try again", None),
    ],
)
def test_the_wish_when_to_come_back_is_read(headers: dict[str, str], text: str, expected: int | None) -> None:
    assert retry_hint(headers, text, NOW) == expected


def test_numbers_of_any_length_in_an_error_are_survived() -> None:
    nines = "9" * 5000
    failure = refused(429, {"error": {"message": f"try again in {nines} s", "code": nines}})
    assert (failure.kind, failure.retry_after_ms) == ("rate_limit", None)


def test_a_failure_that_is_worth_another_try_carries_the_hint() -> None:
    assert refused(429, None, {"retry-after": "3"}).retry_after_ms == 3000
    assert refused(503, openai("try again in 2s")).retry_after_ms == 2000
    assert refused(401, None, {"retry-after": "3"}).retry_after_ms is None


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.1.2.3/v1", True),
        ("http://[::1]:8080", True),
        ("http://localhost:11434", True),
        ("http://llm.localhost", True),
        ("http://LocalHost.:1", True),
        ("http://0.0.0.0:11434", True),
        ("http://[::]:1", True),
        ("http://127.1:1", True),
        ("http://0x7f.1", True),
        ("http://[::ffff:127.0.0.1]:1", True),
        ("http://[::ffff:10.0.0.1]:1", False),
        ("http://10.1", False),
        ("http://fade.cafe", False),
        ("http://127.0.0.1.example.org", False),
        ("http://192.168.1.5", False),
        ("https://localhost.example.org", False),
    ],
)
def test_what_is_on_this_machine(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_a_call_does_not_show_its_secrets() -> None:
    assert "canary" not in repr(CALL)
