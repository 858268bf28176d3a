"""Stop reasons that no table has: what their words say."""

import pytest

from parley_daemon.adapters.providers.shared.stop_reasons import is_failure, map_reason


@pytest.mark.parametrize(
    "said",
    ["error", "engine_failure", "abort", "cancelled", "engine_overloaded", "timeout", "network_error"],
)  # fmt: skip
def test_an_answer_that_the_server_gave_up_has_failed(said: str) -> None:
    assert is_failure(said)
    assert is_failure(said.upper())


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("model_length", "length"),
        ("model_context_window_exceeded", "length"),
        ("max_output_tokens", "length"),
        ("sensitive", "content_filter"),
        ("content_filtered", "content_filter"),
        ("PROHIBITED_CONTENT_2", "content_filter"),
        ("pause_turn", "other"),
        ("stop", "stop"),
    ],
)
def test_other_reasons_mean_what_their_words_say(said: str, meant: str) -> None:
    assert not is_failure(said)
    assert map_reason(said, {"stop": "stop"}) == meant
