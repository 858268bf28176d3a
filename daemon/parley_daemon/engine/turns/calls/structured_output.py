"""Reads the JSON value of an answer that has to fit a JSON Schema, and checks it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from parley_daemon.core.nesting import is_too_deep
from parley_daemon.core.parts import Part, plain_text
from parley_daemon.core.records import Failure
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import ModelError
from parley_daemon.ports.schemas import SchemaCheckError, Schemas

_FENCE = "```"


async def read_output(
    schemas: Schemas,
    schema: Mapping[str, Any],
    parts: Iterable[Part],
    stop_reason: str | None,
    model: ResolvedModel,
) -> Any:
    """Return the JSON value of an answer, given its parts.

    Raises:
        ModelError: the answer is not JSON, or does not fit the schema.
    """
    text = plain_text(parts)
    try:
        value = _parse_value(text)
    except ValueError:
        problem = "it is not JSON"
    else:
        try:
            violation = await schemas.check_value(schema, value)
        except SchemaCheckError as error:
            raise ModelError(Failure("invalid_request", str(error))) from error
        if violation is None:
            return value
        problem = f"{violation.path or 'it'} {violation.problem}"
    raise ModelError(_failure(problem, stop_reason, model.provider))


def _failure(problem: str, stop_reason: str | None, provider: str) -> Failure:
    """Return why there is no value. A cut or refused answer is a better reason than one that does not fit."""
    match stop_reason:
        case "length":
            message = (
                "The answer reached its token limit before its JSON was complete. Increase maxOutputTokens."
            )
            return Failure("bad_stream", message, provider=provider)
        case "content_filter":
            message = f"{provider} refused to answer, so there is no JSON for the output schema."
            return Failure("content_filter", message, provider=provider)
        case _:
            message = f"The answer does not fit the output schema: {problem}."
            return Failure("bad_stream", message, provider=provider, retryable=True)


def _parse_value(text: str) -> Any:
    """Return the JSON value of a text, which is JSON or contains JSON in its only fenced block.

    Raises:
        ValueError: it does not, or its value is nested too deep.
    """
    for candidate in _candidates(text.strip()):
        try:
            value = msgspec.json.decode(candidate)
        except (ValueError, RecursionError):
            continue
        if not is_too_deep(value):  # clients could not read it
            return value
    raise ValueError("not JSON")


def _candidates(text: str) -> Iterator[str]:
    yield text
    if text.startswith(_FENCE) and text.endswith(_FENCE):  # the JSON may contain fences itself
        yield _without_language(text.removeprefix(_FENCE).removesuffix(_FENCE))
    blocks = text.split(_FENCE)[1::2]
    if len(blocks) == 1:
        yield _without_language(blocks[0])


def _without_language(block: str) -> str:
    """Return the text of a fenced block without the language in its first line."""
    first, newline, rest = block.partition("\n")
    return rest if newline and first.strip().lower() in ("", "json") else block
