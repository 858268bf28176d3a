"""A request that is too long for its model is recognised by what is said, in whichever words."""

import json
from typing import Any

import pytest

from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.core.records import Failure

CALL = Call("acme", "gpt-9", "https://api.acme.test/v1/chat/completions", has_key=True)


def refused(status: int, body: Any, headers: dict[str, str] | None = None) -> Failure:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return CALL.error_from_status(status, headers or {}, data).failure


TOO_LONG = (
    # a limit and a count, in either order
    "maximum prompt length of this model: 131072; tokens in this request: 136973",
    "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
    "request over the model token limit: 262144 (requested: 566084)",
    "Your request exceeded model token limit: 8192 (requested: 8800)",
    "An input length of 131393 is more than the maximum input length of 131040 tokens",
    "Requested input length 140000 exceeds maximum input length 131072",
    "prompt is too long: 205012 tokens > 200000 maximum",
    "prompt token count of 135012 exceeds the limit of 128000",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Prompt contains 140000 tokens and 0 draft tokens, too large for model with 131072 maximum",
    "Prompt length 5000 is greater than max_seq_len 4096",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292",
    "Input validation error: `inputs` must have less than 1024 tokens. Given: 2048",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4165 `inputs` tokens",
    "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",
    "Please reduce the length of the messages or completion. Current length is 8500 while limit is 8192",
    "The number of tokens (5000) is larger than n_ctx (4096)",
    "Number of input tokens exceeds maximum length",
    "The estimated input and maximum output tokens (9000) exceeded this model context window limit (7968).",
    "Total tokens of image and text exceed max message tokens",
    "Sequence length 4200 is over the model's limit of 4096 tokens",
    "At most 8192 tokens fit into one request; this one has 9001",
    "The conversation has 9001 tokens, this model takes up to 8192",
    "Malformed input request: expected maxLength: 2622000, actual: 2700000, please reformat your input",
    "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model",
    "number of input tokens must be no more than 8192, got 9000",
    "too many tokens: size limit exceeded by 500 tokens. Try using shorter or fewer inputs",
    "Prompt has 131073 tokens, but the configured context size is 131072 tokens",
    "Input length (5000 tokens) exceeds the maximum allowed length (4096 tokens).",
    "max tokens of 4096 exceeded",
    # only a limit
    "InvalidParameter: input length has a range of [1, 983616]",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
    "The body is too large for this model, max size: 8000 tokens",
    "the max input characters is 20000",
    "The text is longer than 8000 characters",
    "Request exceeds the free plan's limit of 8000 tokens per request.",
    # no figures at all
    "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input.",
    "Too many tokens in prompt",
    "Tokens limit exceeded",
    "input tokens over limit",
    "Prompt length exceeded",
    "输入的内容超过最大长度",
    "the prompt is longer than max length",
    "Prompt exceeds max length",
    "Prompt 超长",
    "输入长度超过模型最大长度限制",
    "token数量超过上限。对话历史+问题的字数太多",
    "prompt tokens too long",
    "input is too long for this model",
    "invalid params, context window exceeds limit (2013)",
    "max_tokens must be at least 1, got -5000.",
    "Token indices sequence length is longer than the maximum sequence length (9000 > 8192)",
    "cannot fit the prompt into the model (need 9000, have 8192)",
    "入力トークン数が上限を超えています (9000 > 8192)",
    "The message history does not fit into the model's context",
    "Token limit exceeded",
    "Invalid 'messages[3].content': string too long. Expected a string with maximum length 1048576.",
    "Invalid 'input': string too long. Expected a string with maximum length 10485760.",
    "Invalid 'messages': array too long. Expected an array with maximum length 2048.",
)  # fmt: skip


@pytest.mark.parametrize("message", TOO_LONG)
def test_a_request_that_is_too_long_is_recognised_in_any_words(message: str) -> None:
    bodies = (
        {"error": {"message": message, "type": "invalid_request_error"}},
        {"code": "Client specified an invalid argument", "error": message},
        {"error": "Bad Request", "message": message},
        message,
    )
    for body in bodies:
        for status in (400, 413, 422, 500):
            failure = refused(status, body)
            assert (failure.kind, failure.retryable) == ("context_length", False), (status, body)
        assert refused(429, body).kind == "rate_limit"
    for error in bodies:
        assert CALL.error_from_object(error).failure.kind == "context_length"


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"code": "1261", "message": "No."}},
        {"error": {"code": 1261, "message": "No."}},
        {"error": {"code": "tokens_limit_reached", "message": "No."}},
        {"error": {"code": "model_max_prompt_tokens_exceeded", "message": "No."}},
        {"error": {"type": "ContextWindowExceededError", "message": "No."}},
        {"error": {"type": "exceed_context_size_error", "message": "No."}},
        {"error": {"code": "prompt_too_long", "message": "No."}},
        {"error": {"code": "input_too_long", "message": "No."}},
        {"error": {"code": "max_context_exceeded", "message": "No."}},
        {"error": "context_length_exceeded", "message": "No."},
        {"error": "tokens_limit_reached", "message": "No."},
        {"error_code": 336103, "error_msg": "No."},
        {"base_resp": {"status_code": 2013, "status_msg": "context window exceeds limit"}},
    ],
)
def test_the_codes_of_such_errors_are_enough(error: Any) -> None:
    assert refused(400, error).kind == "context_length"
    assert CALL.error_from_object(error).failure.kind == "context_length"


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens.",
        "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for this model",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        "Range of max_tokens should be [1, 8192]",
        "Unsupported parameter in request: 'max_tokens' is not supported; use 'max_completion_tokens'.",
        "thinking.budget_tokens: Input should be greater than or equal to 1024",
        "body.temperature: Input should be less than or equal to 2",
        "body.messages.0.name: String should have at most 64 characters",
        "body.stop: Input should have at most 16 characters",
        "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64.",
        "Invalid 'user': string too long. Expected a string with maximum length 64.",
        "Invalid 'tools[0].function.description': string too long. Expected maximum length 1024.",
        "Invalid 'input[3].call_id': string too long. Expected a string with maximum length 64.",
        "Invalid 'tools': array too long. Expected an array with maximum length 128.",
        "messages.1.content.0.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes > 5242880 bytes",
        "The request body exceeds the limit of 20 MB",
        "Input audio is too long",
        "thinking budget 50000 tokens exceeds maximum of 24576",
        "The value of the message does not fit the schema",
        "Too many images in the request: at most 20",
        "Invalid token in the request: the access token is too long",
        "Invalid JSON in the request body: unexpected token } at position 8",
        "temperature must be below 2",
        "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 16384.",
        "Unable to submit request with a maxOutputTokens value of 100000, the range is 1 to 65536",
        "The prompt must contain at most 4 images",
        "Input text contains unsupported characters",
        "messages: at least one message is required",
        "messages.0.content: at least 1 character is required",
        "Too many tools in the request; at most 128 functions",
        "Cached content is too small. total_token_count=500, min_total_token_count=4096",
    ],
)  # fmt: skip
def test_other_limits_are_not_taken_for_it(message: str) -> None:
    for status in (400, 413, 422):
        assert refused(status, {"error": {"message": message}}).kind == "invalid_request"


def test_a_code_says_nothing_about_the_words_beside_it() -> None:
    error = {"message": "Invalid 'tools': array too long.", "type": "invalid_request_error"}
    failure = refused(400, {"error": {**error, "code": "array_above_max_length"}})
    assert failure.kind == "invalid_request"


@pytest.mark.parametrize(
    "message",
    [
        "Limit of 6000 tokens per minute exceeded by this request of 9000 tokens",
        "Request too large for gpt-9 on tokens per minute (TPM): Limit 6000, Requested 9000",
        "The prompt exceeds your rate limit of 40,000 input tokens per minute",
        "Input tokens/min: maximum 6000, requested 8000",
        "Too many tokens, please wait before trying again.",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 413, 422, 429, 500])
def test_a_limit_on_tokens_within_a_time_stays_a_rate_limit(status: int, message: str) -> None:
    failure = refused(status, {"error": {"message": message}})
    assert (failure.kind, failure.retry_after_ms) == ("rate_limit", None)
    later = refused(status, {"error": {"message": message}}, {"retry-after": "7"})
    assert (later.kind, later.retryable, later.retry_after_ms) == ("rate_limit", True, 7000)


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500])
def test_a_request_above_the_limit_of_a_minute_is_not_worth_another_try(status: int) -> None:
    words = "Rate limit reached on tokens per min (TPM): Limit {}, Used 0, Requested {}."
    above = refused(status, {"error": {"message": words.format("30,000", "44000")}})
    assert (above.kind, above.retryable) == ("rate_limit", False)
    if status != 413:
        below = refused(status, {"error": {"message": words.format(30000, 1200)}})
        assert (below.kind, below.retryable) == ("rate_limit", True)


def test_a_request_that_is_too_large_in_bytes_is_another_matter() -> None:
    for body in ("<html><title>413 Request Entity Too Large</title></html>", "Payload Too Large"):
        assert refused(413, body).kind == "invalid_request"
    assert refused(414, "Request-URI Too Long").kind == "invalid_request"
    assert refused(431, "Request Header Fields Too Long").kind == "invalid_request"


def test_behind_a_gateway_only_counts_prove_it() -> None:
    assert (
        refused(502, {"error": "upstream: prompt is too long: 205012 tokens > 200000"}).kind
        == "context_length"
    )
    assert refused(502, {"error": "upstream: the context window cache is not ready"}).kind == "network"
    assert refused(503, {"error": "the input queue is over its limit"}).kind == "overloaded"


def test_a_long_error_is_read_quickly() -> None:
    for piece in ("tokens ", "input ", "request_id_", "max_", "invalid 'a", "[.", "1,000", "per "):
        assert refused(400, {"error": {"message": piece * 100_000}}).kind
