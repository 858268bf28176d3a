"""What Anthropic and Bedrock say when they fail, and what a person is told."""

import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.http.failures import Call

CALL = Call("anthropic", "claude-opus-5-5", "https://api.anthropic.com/v1/messages", has_key=True)


def anthropic(type: str, message: str, **details: Any) -> dict[str, Any]:
    error = {"type": type, "message": message, **({"details": details} if details else {})}
    return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


def bedrock(message: str) -> dict[str, Any]:
    return {"message": message}


INVALID, RATE = "invalid_request_error", "rate_limit_error"
LONG = "prompt is too long: 212345 tokens > 200000 maximum"
LONG_WITH_ANSWER = "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"
BROKE = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."
SPENT = "You have reached your specified API usage limits. You will regain access on 2026-12-01."
FAST = "This request would exceed your organization's rate limit of 40,000 input tokens per minute."
ON_DEMAND = "Invocation of model ID claude-opus-5-5 with on-demand throughput isn't supported."


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (400, anthropic(INVALID, "max_tokens: Field required"), "invalid_request", False),
        (400, anthropic(INVALID, LONG), "context_length", False),
        (400, anthropic(INVALID, LONG_WITH_ANSWER), "context_length", False),
        (400, anthropic(INVALID, BROKE), "usage_limit", False),
        (400, anthropic(INVALID, SPENT), "usage_limit", False),
        (400, anthropic(INVALID, "Output blocked by content filtering policy"), "content_filter", False),
        (401, anthropic("authentication_error", "invalid x-api-key"), "auth", False),
        (402, anthropic("billing_error", "There is an issue with your billing."), "usage_limit", False),
        (403, anthropic("permission_error", "Your API key does not have permission."), "auth", False),
        (404, anthropic("not_found_error", "model: claude-opus-5-5"), "model_not_found", False),
        (413, anthropic("request_too_large", "Request exceeds the maximum size"), "invalid_request", False),
        (429, anthropic(RATE, FAST), "rate_limit", True),
        (429, anthropic(RATE, "Slower.", error_code="ramp_limit_exceeded"), "rate_limit", True),
        (429, anthropic(RATE, "Spent.", error_code="enforced_spend_limit_reached"), "usage_limit", False),
        (429, anthropic(RATE, "Extra usage is required for long context requests."), "usage_limit", False),
        (500, anthropic("api_error", "Internal server error"), "overloaded", True),
        (504, anthropic("timeout_error", "The request timed out."), "timeout", True),
        (529, anthropic("overloaded_error", "Overloaded"), "overloaded", True),
        (400, bedrock("Input is too long for requested model."), "context_length", False),
        (400, bedrock("The provided model identifier is invalid."), "model_not_found", False),
        (400, bedrock(ON_DEMAND), "invalid_request", False),
        (400, bedrock("Your account has exceeded its service quota."), "usage_limit", False),
        (403, bedrock("You don't have access to the model with this model ID."), "auth", False),
        (403, bedrock("The security token included in the request is expired"), "auth", False),
        (404, bedrock("Could not resolve the foundation model."), "model_not_found", False),
        (408, bedrock("The request took too long to process."), "timeout", True),
        (424, bedrock("An error occurred while processing the model."), "overloaded", False),
        (429, bedrock("Too many tokens, please wait before trying again."), "rate_limit", True),
        (503, bedrock("The service isn't available. Try again later."), "overloaded", True),
    ],
)  # fmt: skip
def test_a_refusal_means_a_kind(status: int, body: dict[str, Any], kind: str, retryable: bool) -> None:
    failure = CALL.error_from_status(status, {}, json.dumps(body).encode()).failure
    assert (failure.kind, failure.retryable, failure.status_code) == (kind, retryable, status)
    assert failure.detail == (body.get("error") or body)["message"]


@pytest.mark.parametrize(
    ("type", "message", "kind", "retryable"),
    [
        ("overloaded_error", "Overloaded", "overloaded", True),
        ("api_error", "Internal server error", "overloaded", True),
        ("rate_limit_error", "Too fast", "rate_limit", True),
        ("timeout_error", "The request timed out.", "timeout", True),
        ("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum", "context_length", False),
        ("invalid_request_error", "temperature: must be 1", "invalid_request", False),
        ("request_too_large", "Request exceeds the maximum size", "invalid_request", False),
        ("billing_error", "Pay first.", "usage_limit", False),
        ("authentication_error", "invalid x-api-key", "auth", False),
        ("permission_error", "No.", "auth", False),
        ("not_found_error", "model: claude-opus-5-5", "model_not_found", False),
        ("something_new", "What is this?", "overloaded", True),
        ("throttlingException", "Too many tokens, please wait before trying again.", "rate_limit", True),
        ("serviceUnavailableException", "Try again later.", "overloaded", True),
        ("internalServerException", "Sorry.", "overloaded", True),
        ("modelTimeoutException", "Took too long.", "timeout", True),
        ("modelStreamErrorException", "An error occurred while streaming.", "overloaded", True),
        ("validationException", "Malformed input request.", "invalid_request", False),
        ("validationException", "Input is too long for requested model.", "context_length", False),
    ],
)
def test_an_error_in_the_stream_means_a_kind(type: str, message: str, kind: str, retryable: bool) -> None:
    failure = CALL.error_from_object(anthropic(type, message)).failure
    assert (failure.kind, failure.retryable, failure.detail) == (kind, retryable, message)


def test_a_request_that_is_too_large_is_called_so() -> None:
    body = json.dumps(anthropic("request_too_large", "Request exceeds the maximum size")).encode()
    assert (
        CALL.error_from_status(413, {}, body).failure.message
        == "The request is larger than anthropic accepts."
    )
    in_stream = CALL.error_from_object(anthropic("request_too_large", "No.")).failure
    assert in_stream.message == "The request is larger than anthropic accepts."
