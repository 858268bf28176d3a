"""Errors as providers really word them: what a person is told, and whether trying again can help.

`recorded_errors.jsonl` has one a line, as recorded or documented; names of keys and organisations are made
up. Status 200 stands for an error in the middle of a stream.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from parley_daemon.adapters.providers.http.failures import Call

LINES = (Path(__file__).parent / "recorded_errors.jsonl").read_text("utf-8").splitlines()
ERRORS: list[dict[str, Any]] = [json.loads(line) for line in LINES]


def name(recorded: dict[str, Any]) -> str:
    return f"{recorded['provider']}-{recorded['status']}-{recorded['kind']}"


@pytest.mark.parametrize("recorded", ERRORS, ids=name)
def test_an_error_becomes_what_it_means(recorded: dict[str, Any]) -> None:
    has_key = recorded.get("hasKey", True)
    call = Call(recorded["provider"], "acme-1", "https://acme.test/v1/chat", has_key=has_key)
    status, said = recorded["status"], recorded["body"]
    body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
    if status == 200:
        failed = call.error_in_payload(body, is_error=True).failure
    else:
        failed = call.error_from_status(status, recorded.get("headers", {}), body).failure
        assert failed.status_code == status
    assert (failed.kind, failed.retryable) == (recorded["kind"], recorded["retryable"])
    assert failed.retry_after_ms == recorded.get("retryAfterMs")
    assert failed.message == recorded["message"]
    assert failed.detail
    assert "THE PROMPT" not in failed.detail


def test_the_recorded_errors_are_of_many_providers_and_kinds() -> None:
    assert len(set(LINES)) == len(LINES) >= 60
    assert len(Counter(one["provider"] for one in ERRORS)) >= 15
    assert len(Counter(one["kind"] for one in ERRORS)) == 10
