"""The lines of turns in the daemon's log: one when a turn ends, one for each retry.

They say what happened in words of the daemon: ids, kinds, numbers, times. What a provider wrote is left out,
because providers quote prompts and keys in their errors; the client that asked has the whole error.
"""

import logging

from parley_daemon.core.records import Failure, Usage
from parley_daemon.engine.turns.host import TurnResult

log = logging.getLogger(__name__)

# The message of these kinds is the daemon's own, unless the provider has answered something.
_OWN_WORDS = ("network", "timeout", "stream_idle", "missing_key", "daemon_lost", "limit", "internal")

_MAX_NAME = 100


def log_end(chat_id: str, result: TurnResult) -> None:
    """Write the line of a turn that has ended."""
    timings = result.timings
    first = "" if timings.first_part_ms is None else f", first part after {timings.first_part_ms} ms"
    attempts = f"{timings.attempts} attempt{'' if timings.attempts == 1 else 's'}"
    ended = result.outcome
    if result.error is not None:
        ended = f"{ended}: {describe_failure(result.error)}"
    elif result.stop_reason is not None:
        ended = f"{ended} ({result.stop_reason[:_MAX_NAME]})"
    log.log(
        logging.WARNING if result.outcome == "failed" else logging.INFO,
        "turn %s of chat %s, model %s: %s; %d ms, %d ms queued%s, %s%s",
        *(result.turn.id, chat_id, _name(result.model or result.turn.model), ended),
        *(timings.total_ms, timings.queued_ms, first, attempts, _describe_usage(result.turn_usage)),
    )


def log_retry(turn_id: str, number: int, failure: Failure, seconds: float, model: str) -> None:
    """Write the line of a retry. `model` is asked next, after so many seconds."""
    log.warning(
        "turn %s, retry %d: %s; asking %s in %d ms",
        *(turn_id, number, describe_failure(failure), _name(model), round(seconds * 1000)),
    )


def describe_failure(failure: Failure) -> str:
    """Return what failed, without the words of the provider."""
    text = failure.kind if failure.provider is None else f"{failure.kind} of {_name(failure.provider)}"
    if failure.status_code is not None:
        return f"{text}, status {failure.status_code}"
    if failure.kind in _OWN_WORDS and failure.detail is None:
        return f"{text}: {failure.message}"
    return text


def _name(name: str | None) -> str:
    return "none" if name is None else name[:_MAX_NAME]


def _describe_usage(usage: Usage | None) -> str:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return ""
    return f", {usage.input_tokens} tokens in, {usage.output_tokens} out"
