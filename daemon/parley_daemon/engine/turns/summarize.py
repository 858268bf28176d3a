"""Requests a title or a summary of a chat from a model. Changes no chat."""

from collections.abc import Sequence

import anyio
import msgspec
from msgspec.structs import replace

from parley_daemon.core.compaction import CHARACTERS_PER_TOKEN, split_text, transcript
from parley_daemon.core.parts import Part, Text, plain_text
from parley_daemon.core.pricing import compute_cost
from parley_daemon.core.records import Failure, Message, ModelSettings, Usage
from parley_daemon.core.titles import SHORT_LENGTH, clean_title
from parley_daemon.engine.turns.calls.answer_stream import open_stream
from parley_daemon.ports.catalogue import ResolvedModel
from parley_daemon.ports.models import Finish, ModelError, ModelRequest, PromptMessage, Purpose, UsageReport

_TITLE = (
    "You name conversations. Answer with nothing but a title of at most six words, in the language of the "
    "conversation, without quotation marks and without a full stop."
)
_SUMMARY = (
    "You keep the notes of a conversation between a user and an assistant. The notes replace the "
    "conversation for the assistant, so keep what it needs to go on: what the user wants and prefers, "
    "decisions and their reasons, facts, names, numbers, code and file names, what is done and what is open. "
    "Leave out courtesies. Answer with the notes alone."
)
_EXCERPT = 2_000
_MIN_PIECE_LENGTH = 2_000
# The share of a model's context for one piece: the notes so far and the new notes need room, too.
_SHARE = 0.5
_PIECE_WITHOUT_LIMIT = 200_000
_MAX_SUMMARY_LENGTH = 200_000


class SummaryPolicy(msgspec.Struct, frozen=True, gc=False):
    """Settings of automatic titles and summaries. Times are in seconds.

    Attributes:
        titles: whether titles are requested.
        title_model: the model for titles; None: the model that answered.
        title_seconds: time limit of a title.
        threshold: percent of a model's context limit above which the history is summarized; 100: never.
        summary_seconds: time limit of a summary.
    """

    titles: bool = False
    title_model: str | None = None
    title_seconds: float = 30.0
    threshold: int = 70
    summary_seconds: float = 90.0


async def make_title(model: ResolvedModel, question: Sequence[Part], answer: Sequence[Part]) -> str | None:
    """Return a title for a conversation with this first exchange, None when the model gives none.

    Raises:
        ModelError: the model did not answer.
    """
    said = f"USER:\n{plain_text(question)[:_EXCERPT]}\n\nASSISTANT:\n{plain_text(answer)[:_EXCERPT]}"
    text, _ = await _ask(model, _TITLE, said, "title", most=4 * SHORT_LENGTH)
    return clean_title(text)


async def summarize(
    model: ResolvedModel, messages: Sequence[Message], seconds: float
) -> tuple[str, Usage | None]:
    """Return a summary of these messages, and its usage.

    A history that is longer than the model's context is summarized piece by piece: each request contains the
    notes so far and the next piece. When a piece is still too long, all is tried again with half the size.

    Raises:
        ModelError: the model did not answer in time, or even short pieces are too long.
    """
    text = transcript(messages)
    limit = model.context_limit
    size = _PIECE_WITHOUT_LIMIT if limit is None else int(limit * CHARACTERS_PER_TOKEN * _SHARE)
    with anyio.move_on_after(seconds):
        while True:
            try:
                return await _summarize_pieces(model, text, max(size, _MIN_PIECE_LENGTH))
            except ModelError as error:
                if error.failure.kind != "context_length" or size <= _MIN_PIECE_LENGTH:
                    raise
                size = min(size, len(text)) // 2  # a smaller size that cuts nothing would ask the same
    provider = model.provider
    raise ModelError(Failure("timeout", f"The summary took longer than {seconds:g} s.", provider=provider))


async def _summarize_pieces(model: ResolvedModel, text: str, size: int) -> tuple[str, Usage | None]:
    notes, usage = "", None
    for piece in split_text(text, size):
        so_far = f"NOTES SO FAR:\n{notes}\n\n" if notes else ""
        notes, used = await _ask(model, _SUMMARY, f"{so_far}CONVERSATION:\n{piece}", "summary")
        if used is not None:
            usage = used if usage is None else usage.add(used)
    if not notes.strip():
        provider = model.provider
        raise ModelError(Failure("bad_stream", f"{provider} returned an empty summary.", provider=provider))
    return notes.strip(), usage


async def _ask(
    model: ResolvedModel, system: str, text: str, purpose: Purpose, *, most: int | None = None
) -> tuple[str, Usage | None]:
    # Of the model's own settings only those without which its server may not be reachable.
    own = ModelSettings(timeouts=model.settings.timeouts, provider_options=model.settings.provider_options)
    settings = own.with_defaults(ModelSettings(timeouts=model.timeouts))
    prompt = (PromptMessage("user", (Text(text),)),)
    said, usage, length, complete = list[str](), None, 0, False
    request = ModelRequest(model.name, prompt, system, settings, purpose)
    async with open_stream(model, request) as batches:
        async for batch in batches:
            for chunk in batch:
                match chunk:
                    case Text(piece):
                        said.append(piece)
                        length += len(piece)
                    case UsageReport(used):
                        usage = used
                    case Finish():
                        complete = True
                    case _:
                        pass
            if most is not None and length > most:
                complete = True
                break
            if length > _MAX_SUMMARY_LENGTH:
                message = f"{model.provider} sent a summary of more than {_MAX_SUMMARY_LENGTH:,} characters."
                raise ModelError(Failure("limit", message, provider=model.provider))
    if not complete:
        provider = model.provider
        message = f"{provider} closed the stream before the answer was complete."
        raise ModelError(Failure("bad_stream", message, provider=provider, retryable=True))
    return "".join(said), _add_cost(usage, model)


def _add_cost(usage: Usage | None, model: ResolvedModel) -> Usage | None:
    if usage is None or model.pricing is None or usage.cost_usd is not None:
        return usage
    return replace(usage, cost_usd=compute_cost(usage, model.pricing))
