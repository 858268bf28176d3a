"""Which failures mean that a message was refused."""

from typing import Any

import pytest
from msgspec.structs import replace

from parley_daemon.core.parts import File, Reasoning, Text
from parley_daemon.core.records import Failure, Message
from parley_daemon.core.refusals import Cause
from parley_daemon.engine.turns.calls.refusal_causes import as_invalid_request, find_cause
from tests.support.engine.records import a_message

IMAGE = File("image/png", data="AAAA")
NO = Failure("invalid_request", "No.")
PLAIN = [a_message(1, "Why?")]
WITH_IMAGE = [a_message(1, content=(Text("What is this?"), IMAGE))]
WITH_REASONING = [
    a_message(1, "Why?"),
    a_message(2, role="assistant", content=(Reasoning("Hm.", signature="s"), Text("So."))),
    a_message(3, "And?", turn_id="t2"),
]


def refusal(detail: str | None, kind: Any = "invalid_request", status: int | None = 400) -> Failure:
    return Failure(kind, f"test refused the request: {detail}", detail, "test", status)


# Sentences that say what servers say, in other words.
FILE_REFUSALS: dict[str, Failure] = {
    "no vision": refusal("This model does not support image inputs."),
    "a part of another type": refusal("messages[0]: unknown variant `image_url`, expected `text`"),
    "text is wanted": refusal("messages.0.content: Input should be a valid string", status=422),
    "no such type": refusal("Unsupported MIME type: application/zip"),
    "an image that cannot be read": refusal("Could not process image"),
    "too many": refusal("At most 0 image(s) may be provided in one prompt."),
    "a server without a projector": refusal(
        "image input is not supported - hint: provide the mmproj", "overloaded", 500
    ),
    "a runner without vision": refusal(
        "this model is missing data required for image input", "overloaded", 500
    ),
    "a router": refusal("No endpoints found that support image input", "model_not_found", 404),
    "a block": refusal("This model doesn't support the image content block that you provided."),
    "a plan without images": refusal("Your plan does not include image inputs", "auth", 403),
    "inside a stream": refusal("model does not support multimodal input", status=None),
    "another part": refusal("Unexpected content type: image_url", "overloaded", 500),
    "a template for texts": refusal('can only concatenate str (not "list") to str', "overloaded", 500),
    "no reason": refusal("Bad Request"),
    "no words": refusal(None),
}


@pytest.mark.parametrize("name", FILE_REFUSALS)
def test_files_that_a_model_does_not_take_are_the_fault_of_their_message(name: str) -> None:
    failure = FILE_REFUSALS[name]
    assert find_cause(failure, WITH_IMAGE) is Cause.CONTENT
    assert find_cause(as_invalid_request(failure), WITH_IMAGE) is Cause.CONTENT  # as it ends the turn


TEXT_REFUSALS: dict[str, tuple[Failure, Cause]] = {
    "a filter": (Failure("content_filter", "No."), Cause.FILTER),
    "a large body": (refusal("Payload Too Large", status=413), Cause.SIZE),
    "a context": (Failure("context_length", "No."), Cause.SIZE),
    "a minute's tokens": (refusal("Request too large for this model", "rate_limit", 413), Cause.SIZE),
    "more than a minute's tokens": (refusal("Limit 6000, Requested 8012", "rate_limit", 429), Cause.SIZE),
    "a large body with another status": (
        refusal("Request payload size exceeds the limit: 20971520 bytes."),
        Cause.SIZE,
    ),
    "a long string": (refusal("Invalid 'messages[0].content': string too long."), Cause.CONTENT),
    "a special token": (refusal("special token <|x|> is not allowed"), Cause.CONTENT),
    "no reason": (refusal("Invalid request"), Cause.CONTENT),
}


@pytest.mark.parametrize("name", TEXT_REFUSALS)
def test_a_text_can_be_refused_too(name: str) -> None:
    failure, cause = TEXT_REFUSALS[name]
    assert find_cause(failure, PLAIN) is cause


OTHERS: dict[str, Failure] = {
    "a setting": refusal("Unsupported value: 'temperature' does not support 0.2 with this model."),
    "another setting": refusal("max_tokens: 100000 > 8192, which is the maximum"),
    "a field of the daemon": refusal("stream_options: Extra inputs are not permitted", status=422),
    "a schema": refusal("Invalid schema for response_format 'output': ..."),
    "an unknown field": refusal('Unknown name "topQ" at generation_config: Cannot find field.'),
    "a model that does not chat": refusal('"m" does not support chat'),
    "a model for others": refusal("The model `m` is disabled for this account"),
    "a field that is missing": refusal("Missing required parameter: 'model'"),
    "a port": refusal("The plain HTTP request was sent to HTTPS port"),
    "the place": refusal("User location is not supported for the API use."),
    "the version": refusal("API version not supported"),
    "the structure": refusal("messages.1: `tool_use` ids were found without `tool_result` blocks"),
    "the template": refusal("After the optional system message, conversation roles must alternate"),
    "an option that the daemon refuses": replace(NO, message='test does not support the option "topK".'),
    "a model": refusal("The model 'llama-vision' does not exist", "model_not_found", 404),
    "a key": refusal("No.", "auth", 401),
    "money": refusal("No credit left.", "usage_limit", 402),
    "an address": refusal("Not Found", status=404),
    "a limit": Failure("rate_limit", "Slow down.", status_code=429, retryable=True),
    "a load": Failure("overloaded", "Busy.", status_code=503, retryable=True),
    "a network": Failure("network", "Gone.", retryable=True),
    "silence": Failure("timeout", "Nothing.", retryable=True),
    "a lost daemon": Failure("daemon_lost", "Gone.", retryable=True),
    "a fault": Failure("internal", "Oops."),
}


@pytest.mark.parametrize("history", [PLAIN, WITH_IMAGE, WITH_REASONING], ids=["text", "image", "reasoning"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_failures_are_not_the_fault_of_a_message(name: str, history: list[Message]) -> None:
    assert find_cause(OTHERS[name], history) is None


@pytest.mark.parametrize(
    "detail",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "The encrypted content for item rs_1 could not be verified.",
    ],
)
def test_reasoning_that_is_not_accepted_is_no_fault_of_the_question(detail: str) -> None:
    assert find_cause(refusal(detail), WITH_REASONING) is Cause.REASONING
    assert find_cause(refusal(detail), PLAIN) is None


def test_reasoning_that_the_provider_has_lost_is_left_out_too() -> None:
    lost = refusal("Item with id 'rs_1' not found. Items are not persisted with `store` false.", status=404)
    assert find_cause(lost, WITH_REASONING) is Cause.REASONING
