"""What installed packages offer as tools, imported one package after the other, each with a time limit.

Another package adds tools through an entry point of the group `parleyd.tools`
(https://packaging.python.org/en/latest/specifications/entry-points/) whose value is a tool, or several in a
list.
Whatever is wrong with one is kept as a sentence, and concerns no other one.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeGuard, cast

import msgspec
from msgspec.structs import replace

from parley_daemon.adapters.tools.packages.definition import KINDS, NAME, FunctionTool, ToolDefinitionError
from parley_daemon.adapters.tools.packages.protocol import Tool
from parley_daemon.adapters.tools.packages.thread import start_thread
from parley_daemon.core.agents.tools import ToolSpec

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "parleyd.tools"

IMPORT_SECONDS = 10.0
"""How long the others wait for an entry point that is being imported."""

MAX_TOOLS = 64
"""Tools of one entry point."""

MAX_SCHEMA = 64 * 1024
"""Bytes of the schema of a tool as JSON, as for tools of clients."""

MAX_DESCRIPTION = 16 * 1024
MAX_TIMEOUT_MS = 600_000
DEFAULT_TIMEOUT_MS = 120_000

_RESERVED_PREFIX = "mcp__"


class OfferedTool(msgspec.Struct, frozen=True, gc=False):
    """A tool of a package. `spec` is what the daemon says of it."""

    spec: ToolSpec
    tool: Tool
    has_own_schema: bool


class Offer:
    """What one entry point offers, once it is known.

    Attributes:
        name: of the entry point.
        package, version: of the distribution that has it.
        tools: its tools, empty until it is loaded.
        problems: sentences about what cannot be used, by the name to list it by.
        is_loaded: whether nothing changes any more.
    """

    def __init__(self, entry: EntryPoint) -> None:
        self.name = entry.name
        self.package = entry.dist.name if entry.dist else entry.module
        self.version = entry.dist.version if entry.dist else ""
        self.tools: tuple[OfferedTool, ...] = ()
        self.problems: dict[str, str] = {}
        self.is_loaded = False
        self._entry = entry

    @property
    def source(self) -> str:
        """What it is called in messages."""
        return f"the package {self.package} {self.version}".strip()

    def load(self) -> None:
        """Import the entry point, and read what it offers. Raises nothing."""
        try:
            found: object = self._entry.load()
            several = isinstance(found, list | tuple)
            self._take(cast("Sequence[object]", found) if several else (found,))
        except (SystemExit, KeyboardInterrupt) as error:
            log.exception("the tools %r of %s end the process", self.name, self.source)
            self._fail(error)
        except Exception as error:  # the boundary to another package: loading it runs its code
            log.exception("the tools %r of %s cannot be loaded", self.name, self.source)
            self._fail(error)
        self.is_loaded = True

    def _fail(self, error: BaseException) -> None:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        self.problems[self.name] = f"The entry point {self.name!r} of {self.source} cannot be loaded: {said}"

    def _take(self, found: Sequence[object]) -> None:
        if not found:
            self.problems[self.name] = f"The entry point {self.name!r} of {self.source} has no tools."
        tools: list[OfferedTool] = []
        for one in found[:MAX_TOOLS]:
            try:
                tools.append(read_tool(one, self.package))
            except ToolDefinitionError as error:
                name = getattr(getattr(one, "spec", None), "name", None)
                self.refuse(name if isinstance(name, str) and name else self.name, str(error))
        if len(found) > MAX_TOOLS:
            self.refuse(self.name, f"it has {len(found)} tools; one entry point may have {MAX_TOOLS}")
        self.tools = tuple(tools)

    def refuse(self, name: str, problem: str) -> None:
        """Note that a tool cannot be used."""
        text = f"The tool {name!r} of {self.source} cannot be used: {problem}."
        log.error("%s", text)
        self.problems[name] = text


def read_tool(one: object, package: str) -> OfferedTool:
    """Return a tool of a package with what the daemon says of it.

    Raises:
        ToolDefinitionError: it is no tool, or one that cannot be used. The message is a clause.
    """
    if not _is_tool(one):
        raise ToolDefinitionError(f"it is {_describe(one)}")
    spec = one.spec
    problem = _find_problem(spec)
    if problem is not None:
        raise ToolDefinitionError(problem)
    spec = replace(
        spec,
        input_schema=msgspec.json.decode(msgspec.json.encode(spec.input_schema)),
        source=f"package:{package}",
        timeout_ms=DEFAULT_TIMEOUT_MS if spec.timeout_ms is None else spec.timeout_ms,
        problem=None,
    )
    return OfferedTool(spec, one, not isinstance(one, FunctionTool) or one.has_own_schema)


def _is_tool(one: object) -> TypeGuard[Tool]:
    return not isinstance(one, type) and all(
        hasattr(one, name) for name in ("spec", "inspect", "run", "sandbox")
    )


def _describe(one: object) -> str:
    if isinstance(one, type):
        return f"the class {one.__name__}: give an object of it"
    if callable(one):
        return "a function: put @tool(...) above it"
    return f"of the type {type(one).__name__}"


def _find_problem(spec: Any) -> str | None:
    """Return what is wrong with a spec, a clause; None: nothing that can be seen without the other tools."""
    if not isinstance(spec, ToolSpec):
        return "its spec is no ToolSpec"
    if not NAME.fullmatch(spec.name):
        return "a name has 1 to 64 letters, digits, _ and -"
    if spec.name.startswith(_RESERVED_PREFIX):
        return f"names with {_RESERVED_PREFIX} are those of MCP servers"
    if spec.kind not in KINDS:
        return f"its kind {spec.kind!r} is none of {', '.join(sorted(KINDS))}"
    if not spec.title.strip() or not spec.description.strip():
        return "it has no title, or no description"
    if len(spec.description.encode()) > MAX_DESCRIPTION:
        return f"its description has more than {MAX_DESCRIPTION:,} bytes"
    if spec.input_schema.get("type") != "object":
        return 'its schema has another type than "object"'
    try:
        size = len(msgspec.json.encode(spec.input_schema))
    except (TypeError, ValueError, RecursionError) as error:
        return f"its schema is not JSON: {error}"
    if size > MAX_SCHEMA:
        return f"its schema has {size:,} bytes as JSON; it may have {MAX_SCHEMA:,}"
    if spec.timeout_ms is not None and not 1 <= spec.timeout_ms <= MAX_TIMEOUT_MS:
        return f"its timeout_ms is not between 1 and {MAX_TIMEOUT_MS:,}"
    return None


def find_offers() -> list[Offer]:
    """Return the entry points of all installed packages, sorted by package and name. Nothing is imported."""
    offers: dict[tuple[str, str], Offer] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        offer = Offer(entry)
        offers.setdefault((offer.package, offer.name), offer)  # a package may be found in two places
    return [offers[key] for key in sorted(offers)]


def load_offers(
    offers: Iterable[Offer], on_change: Callable[[], object], seconds: float = IMPORT_SECONDS
) -> None:
    """Load offers one after the other, each in a thread of its own.

    One that takes longer than its limit is not waited for; it may still be loaded later. `on_change` is
    called in some thread whenever something has become known.
    """
    for offer in offers:
        ended = threading.Event()

        def load(offer: Offer = offer, ended: threading.Event = ended) -> None:
            offer.load()
            ended.set()
            on_change()

        start_thread(load, f"import of {offer.package}")
        if not ended.wait(seconds):
            log.error("the tools %r of %s take longer than %g s to import", offer.name, offer.source, seconds)
            on_change()
