"""The tools of a request in what all dialects have in common: names, schemas, and tools of the history.

Theory of operation. A dialect sends the tools of the request in their order, so that the beginning of a
prompt stays the same from call to call. Names that its API does not accept are changed, each tool to a name
of its own; the calls of an answer get the declared names back (`SentTools.renamed`, see `http_model`).

Some APIs refuse a history with calls of tools that the request does not declare. For these, such tools are
declared behind the others, without parameters and with a description that says that they are gone. If the
request has no tools of its own, the choice "none" forbids them. Otherwise a model that calls one all the
same gets an error as the result, because the turn does not know the tool.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import encode_json, replace_surrogates
from parley_daemon.adapters.providers.shared.options import Json
from parley_daemon.adapters.providers.shared.tool_schema import SchemaRules, any_object, convert_schema
from parley_daemon.ports.models import ToolDeclaration

GONE = "This tool is not available any more. It is only here because it was called earlier: do not call it."
"""The description of a tool that only the history has."""

_UNKNOWN_ARGUMENTS = "The schema of its arguments cannot be shown: pass one object, as described."
_MAX_SCHEMA_BYTES = 64 * 2**10
_MAX_DESCRIPTION = 8_000  # characters
_STEM = 48  # characters before a checksum; the shortest limit of an API is 63


class SentTool(msgspec.Struct, frozen=True, gc=False):
    """A tool as it is sent. `schema` is shared between requests and must not be changed."""

    name: str
    description: str
    schema: Json


class SentTools:
    """The tools of one request.

    Attributes:
        tools: in the order of the request. A second one of the same name is left out.
        renamed: the declared names by the sent ones, as far as they differ.
    """

    __slots__ = ("_fit", "_sent", "renamed", "tools")

    def __init__(
        self, declared: Sequence[ToolDeclaration], fit: Callable[[str], str], rules: SchemaRules
    ) -> None:
        self._fit = fit
        self._sent: dict[str, str] = {}
        tools: list[SentTool] = []
        used: set[str] = set()
        for tool in declared:
            if tool.name in self._sent:
                continue
            name = self._sent[tool.name] = _unused_name(tool.name, fit, used)
            used.add(name)
            description, schema = _convert(encode_json(tool.input_schema), tool.description, rules)
            tools.append(SentTool(name, description, schema))
        self.tools: tuple[SentTool, ...] = tuple(tools)
        self.renamed: Mapping[str, str] = {sent: name for name, sent in self._sent.items() if sent != name}

    def name(self, called: str) -> str:
        """Return the name under which a tool of the history is sent."""
        return self._sent.get(called) or self._fit(called)

    def gone(self, called: Iterable[str]) -> list[str]:
        """Return those of the called tools (by their sent names) that the request does not declare."""
        declared = set(self._sent.values())
        return [name for name in dict.fromkeys(called) if name not in declared]

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What the names in an encoded history depend on."""
        return tuple(self.renamed.items())


def _unused_name(name: str, fit: Callable[[str], str], used: set[str]) -> str:
    """Return a name that no other tool has: if need be with a checksum, which is always the same."""
    fitted = fit(name)
    if fitted not in used:
        return fitted
    checksum = f"{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"
    number, unused = 1, f"{fitted[:_STEM]}_{checksum}"
    while unused in used:
        number += 1
        unused = f"{fitted[:_STEM]}_{checksum}_{number}"
    return unused


@lru_cache(maxsize=1_024)
def _convert(encoded: bytes, description: str, rules: SchemaRules) -> tuple[str, Json]:
    """Return the description and the schema of a tool. Memory: some KiB for each tool."""
    description = replace_surrogates(description)[:_MAX_DESCRIPTION]
    schema = None
    if len(encoded) <= _MAX_SCHEMA_BYTES:
        schema = convert_schema(msgspec.json.decode(encoded), rules)
    if schema is None:
        return f"{description}\n{_UNKNOWN_ARGUMENTS}".strip(), any_object()
    return description, schema
