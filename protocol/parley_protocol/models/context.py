"""Params and results of the methods about the context of chats: searching it, and what is known of it."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from parley_protocol.models.base import Id, Params, Uri, Wire
from parley_protocol.models.objects import IndexState
from parley_protocol.models.parts import SourcePart

MAX_QUERIES = 4
MAX_QUERY = 2_000
MAX_SOURCES = 50
MAX_ROOTS = 20


def _check_query(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


Query = Annotated[str, AfterValidator(_check_query), Field(max_length=MAX_QUERY)]


class FoundSource(SourcePart):
    """A passage that was found. It has `startLine`, `endLine`, `text`, `score` and `contentHash`."""

    stale: bool = False
    """Whether its file has changed since, so that the passage is not in it any more."""


class ContextSearchParams(Params):
    """Params of `context/search`. Either `chatId` or `roots` says where to search."""

    chat_id: Id | None = None
    """The chat whose context is searched, with its `include`, `exclude` and `files`."""
    roots: Annotated[list[Uri], Field(min_length=1, max_length=MAX_ROOTS)] | None = None
    """URIs of folders to search; null: those of the chat."""
    queries: Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)]
    """Phrasings of one question, in words, names or code: 1 to 4. What several find is likelier."""
    limit: Annotated[int, Field(ge=1, le=MAX_SOURCES)] = 10
    """The most sources of the answer, 1 to 50."""
    budget_tokens: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The most tokens of all texts together, estimated as a quarter of their bytes; null: 16,000."""


class ContextSearchResult(Wire):
    """What was found, the best first."""

    sources: list[FoundSource]
    """The sources."""
    state: IndexState
    """How complete the index is: the least complete one of all folders."""
    took_ms: float
    """Milliseconds that the search took."""


class ContextNamesParams(Params):
    """Params of `context/names`."""

    chat_id: Id
    """The chat whose context is looked through, with its `include`, `exclude` and `files`."""
    text: Annotated[str, Field(max_length=200)]
    """What was typed so far: a part of a path, or the beginning of the name of a definition."""
    kind: Literal["file", "symbol"]
    """"file" or "symbol": a file, or a definition such as a function. A symbol needs a `text`."""
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """The most names of the answer, 1 to 100."""


class FoundName(Wire):
    """A file or a definition."""

    name: str
    """The name of the file, or of the definition."""
    uri: str
    """The URI of the file."""
    path: str
    """The path of the file, relative to the folder of the chat that it lies in."""
    line: int | None = None
    """The line of the definition, from 1; null: it is a file."""


class ContextNamesResult(Wire):
    """The names that a person may mean, the likeliest first."""

    names: list[FoundName]
    """The names."""


class ContextStatusParams(Params):
    """Params of `context/status`."""

    root: Uri | None = None
    """The URI of a folder; null: those of the chats in use, and those that were searched."""


class RootStatus(Wire):
    """What is known of a folder."""

    uri: str
    """The URI of the folder."""
    state: IndexState
    """How complete its index is. "none": there is none yet, the first search makes it."""
    files: int
    """The number of files in the index."""
    chunks: int
    """The number of passages in the index."""
    bytes: int
    """The size of the index, in bytes."""
    skipped: dict[str, int]
    """How many files are not in the index, by reason: "secret", "binary", "too_large" and more."""
    updated_at: str | None = None
    """When the index last changed: RFC 3339 in UTC with milliseconds; null: never."""


class ContextStatusResult(Wire):
    """What is known of folders."""

    roots: list[RootStatus]
    """The folders."""
