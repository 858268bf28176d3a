"""What `parley` prints about turns that failed: each thing once."""

from typing import Any

import pytest

from parley_clients.cli.messages import describe_cut_answer, describe_turn_error


def error(kind: str, message: str, detail: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "message": message, "detail": detail, "retryAfterMs": None, **fields}


TOO_LONG = (
    "This chat does not fit into the context window of m. The message stays in the chat, but later requests"
    " leave it out: shorten it, or retry it with a model with a larger context."
)
NO_IMAGES = "m does not support images, and this sentence is longer than others"


@pytest.mark.parametrize(
    ("failure", "printed"),
    [
        (error("context_length", TOO_LONG), TOO_LONG),
        (error("context_length", TOO_LONG, "9 > 8"), f"{TOO_LONG} (9 > 8)"),
        (error("rate_limit", "Try again in 7 s.", retryAfterMs=7000), "Try again in 7 s."),
        (error("rate_limit", "Try again in a moment."), "Try again in a moment."),
        (error("usage_limit", "Check its billing."), "Check its billing."),
        (error("timeout", "The limit is 1 s (totalMs)."), "The limit is 1 s (totalMs)."),
        (error("missing_key", "Set KEY."), "Set KEY."),
        (error("auth", "They have expired; renew them."), "They have expired; renew them."),
        (
            error("auth", "p does not accept the configured API key.", "bad key", provider="p"),
            "p does not accept the configured API key. (bad key) Replace it:"
            ' "parley provider set p --key", or api_key in the configuration file.',
        ),
        (
            error("network", "Nothing is at http://h. Check base_url and the network."),
            "Nothing is at http://h. Check the address (--url, or base_url in the file) and the network.",
        ),
        (
            error("invalid_request", f"p refused the request: {NO_IMAGES}. Edit it.", f"{NO_IMAGES}"),
            f"p refused the request: {NO_IMAGES}. Edit it.",
        ),
        (
            error("invalid_request", f"p refused the request: {NO_IMAGES}. Edit it.", f"At 1: {NO_IMAGES}."),
            f"p refused the request: {NO_IMAGES}. Edit it.",
        ),
        (
            error("overloaded", "p is busy."),
            "p is busy. Try again in a moment, or choose another model with --model.",
        ),
    ],
)  # fmt: skip
def test_why_a_turn_failed_and_what_to_do_are_said_once(failure: dict[str, Any], printed: str) -> None:
    assert describe_turn_error(failure) == printed


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("Half", "The provider's content filter stopped the answer."),
        (" ", "The provider's content filter refused the message; later requests leave it out."),
    ],
)
def test_a_filter_that_left_nothing_has_refused_the_message(text: str, printed: str) -> None:
    messages = [{"content": [{"type": "text", "text": text}]}]
    ended = {"outcome": "completed", "stopReason": "content_filter", "messages": messages}
    assert describe_cut_answer(ended) == printed
