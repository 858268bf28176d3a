"""Usage and cost in chat-completions answers."""

from collections.abc import Mapping
from typing import Any

import pytest

from parley_daemon.core.parts import (
    Text,
)
from parley_daemon.core.records import Usage
from parley_daemon.ports.models import UsageReport
from tests.support.providers.chat_parsing import DONE, END, STOP, deltas, read, sse
from tests.support.providers.script import chunk


def test_usage_comes_in_an_event_without_choices() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 20,
        "total_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    stream = deltas({"content": "a"}) + sse(chunk(reason="stop"), {"choices": [], "usage": usage}) + DONE
    assert read(stream)[1:] == [
        UsageReport(Usage(10, 20, 30, reasoning_tokens=7, cache_read_tokens=4)),
        STOP,
    ]


def test_usage_without_details_gets_a_computed_total() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": None}
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE) == [UsageReport(Usage(1, 2, 3)), STOP]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "many",
        {"prompt_tokens": "x"},
        {"prompt_tokens": None},
        {"prompt_tokens": float("nan")},
        {"prompt_tokens": float("inf"), "completion_tokens": -float("inf")},
        {"prompt_tokens": 1e300},
        {"completion_tokens": -1},
    ],
)
def test_missing_or_invalid_usage_is_ignored(usage: object) -> None:
    assert read(sse({**chunk({"content": "a"}, "stop"), "usage": usage}), DONE) == [Text("a"), STOP]


@pytest.mark.parametrize(
    ("usage", "read_as"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": []}, Usage(5, 2, 7)),
        ({"prompt_tokens": 5, "completion_tokens": "2", "total_tokens": 7}, Usage(5, None, 7)),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": "?"}},
            Usage(5, cache_read_tokens=3),
        ),
        (
            {"completion_tokens": 2, "completion_tokens_details": "none", "reasoning_tokens": 1},
            Usage(None, 2, reasoning_tokens=1),
        ),
    ],
)
def test_only_the_invalid_fields_of_usage_are_ignored(usage: object, read_as: Usage) -> None:
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE) == [UsageReport(read_as), STOP]


@pytest.mark.parametrize(
    ("total", "thought", "output"), [(135, 94, 103), (41, 8, 9), (135, 0, 9), (None, 94, 9), (200, 94, 9)]
)
def test_reasoning_that_is_counted_separately_is_added_to_the_output(
    total: int | None, thought: int, output: int
) -> None:
    usage = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": total,
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    told = UsageReport(Usage(32, output, total or 41, reasoning_tokens=thought))
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE) == [told, STOP]


@pytest.mark.parametrize(
    ("said", "dollars"),
    [
        ({"cost": 0.0012}, 0.0012),
        ({"cost": 0}, 0.0),
        ({"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}}, 0.5),
        ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 10}}, 10.5),
        ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, 0.5),
        ({"cost": 0.5, "is_byok": True, "cost_details": []}, 0.5),
    ],
)
def test_the_cost_that_a_router_reports_is_kept(said: Mapping[str, Any], dollars: float) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, **said}
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE)[0] == UsageReport(
        Usage(1, 2, 3, cost_usd=dollars)
    )


@pytest.mark.parametrize("cost", [None, "0.5", True, {"total_cost": 0.5}, -1, float("nan"), float("inf")])
def test_a_cost_that_is_not_a_number_is_ignored(cost: object) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": cost}
    assert read(sse({**chunk(reason="stop"), "usage": usage}), DONE)[0] == UsageReport(Usage(1, 2, 3))


def test_running_usage_is_reported_at_most_once_a_read() -> None:
    first, second = ({**chunk({"content": "a"}), "usage": {"completion_tokens": n}} for n in (1, 2))
    assert read(sse(first, second), END) == [Text("aa"), UsageReport(Usage(output_tokens=2)), STOP]
