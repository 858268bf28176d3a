"""search_context: the model searches the context of the chat, as messages are searched for.

Its result is a JSON object with sources, as clients know them. Their ids have the id of the message with the
call, so that no other source of the chat has them: the model can cite them.
"""

import os
from collections import OrderedDict
from typing import Annotated, Any

import msgspec

from parley_daemon.adapters.tools.files.texts import printable
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.globs import is_below, matches_any, path_of_uri, uri_of_path
from parley_daemon.core.agents.tools import Inspection, PathUse, Preview, ToolOutput, ToolSpec
from parley_daemon.core.parts import Source
from parley_daemon.ports.context import ContextError, ContextIndex, ContextScope
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor

MAX_BYTES = 16 * 1024
"""Of the texts of one result."""

MAX_SOURCES = 20

_MESSAGES = 256

Phrasing = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class SearchContextArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of search_context."""

    queries: Annotated[
        list[Phrasing],
        msgspec.Meta(
            min_length=1,
            max_length=4,
            description="1 to 4 phrasings of one question, in the words and names that the code may use.",
        ),
    ]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_SOURCES, description="How many passages to show.")] = 8


class SearchContextTool:
    """Implements Tool."""

    def __init__(self, index: ContextIndex) -> None:
        self.spec = ToolSpec(
            "search_context",
            "Search context",
            "Finds the passages of the chat's files that fit a question best, with their lines, by the words "
            "and names in them. Use it to find where something is done; use search_text for exact matches. "
            "Each passage has an id to cite.",
            input_schema(SearchContextArguments),
            "read",
            needs_root=True,
            retrieves=True,
        )
        self._index = index
        self._numbers: OrderedDict[tuple[str, int], int] = OrderedDict()

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        arguments = read_arguments(SearchContextArguments, args)
        title = printable(f"Search for {arguments.queries[0][:200]!r} in the context")
        roots = context.workspace.roots
        paths = tuple([PathUse(root, "read", "root", root) for root in roots])
        return Inspection(title, Preview(paths=roots), paths=paths)

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """See Tool."""
        arguments = read_arguments(SearchContextArguments, args)
        scope = _scope(context)
        try:
            found = await self._index.search(
                scope, arguments.queries, limit=arguments.limit, max_bytes=MAX_BYTES
            )
            passages = [await self._index.verify(scope, one) for one in found.passages]
        except ContextError as error:
            return ToolOutput(str(error), "failed")
        sources: list[Source] = []
        for passage in passages:
            # An index does not give what is withheld. It may come from elsewhere, so this is checked.
            if passage is None or not _is_in(scope, passage.path):
                continue
            sources.append(
                Source(
                    self._next_id(context),
                    uri_of_path(passage.path),
                    os.path.relpath(passage.path, passage.root) if passage.root else passage.path,
                    passage.text,
                    passage.start_line,
                    passage.end_line,
                    passage.score,
                    passage.content_hash,
                    "tool",
                )
            )
        result: dict[str, Any] = {"sources": msgspec.to_builtins(sources), "state": found.state}
        if found.state != "ready":
            result["note"] = "The index is not complete: what is not found here may exist all the same."
        return ToolOutput(result)

    def sandbox(self, context: CallContext) -> None:
        """See Tool."""

    def _next_id(self, context: CallContext) -> str:
        message = context.chat_id, context.message_id
        number = self._numbers[message] = self._numbers.pop(message, 0) + 1
        while len(self._numbers) > _MESSAGES:
            self._numbers.popitem(last=False)
        return f"S{context.message_id}.{number}"


def _scope(context: CallContext) -> ContextScope:
    about = context.context
    files = [path for path in map(path_of_uri, about.files) if path is not None]
    return ContextScope(
        context.owner,
        context.workspace.roots,
        about.include,
        about.exclude,
        tuple(files),
        context.withheld,
    )


def _is_in(scope: ContextScope, path: str) -> bool:
    is_inside = path in scope.files or any(is_below(path, root) for root in scope.roots)
    return is_inside and not matches_any(scope.withheld, path)
