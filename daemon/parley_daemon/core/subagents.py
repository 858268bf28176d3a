"""Subagents: how many a chat may have, what they are told, and what their parent is told of them.

Theory of operation. A model that delegates sees only reports of its children. A report says what a child is
doing and what it has said last. It never looks like more than there is: a text that is not all of it is
`truncated`, a child that waits for an answer of a person is "paused", and one that a limit has ended has an
error that says so, beside what it had found out.

A limit is answered as the result of the call, in words that say what else the model can do.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, cast

import msgspec

from parley_daemon.core.parts import ToolCall, ToolResult
from parley_daemon.core.records import Failure, Message, SubagentSettings, Usage

DEPTH = 1
"""Levels of children below a root chat, if its settings say nothing."""

PARALLEL = 4
"""Children of a root that have a turn under way at the same time, if its settings say nothing."""

TOTAL = 32
"""Children that a root gets in all, if its settings say nothing."""

MAX_TEXT = 16 * 1024
"""Bytes of UTF-8 of the text of a report."""

MAX_WAIT_MS = 300_000
"""The longest that one call waits for children. After that it reports what is known."""

ReportedStatus = Literal["running", "completed", "failed", "interrupted", "paused"]


class ReportedError(msgspec.Struct, frozen=True, gc=False):
    """Why a child did not do all of its task. `kind` is that of a failure; "limit": a limit of its turn."""

    kind: str
    message: str


class Report(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What a model is told of a child.

    Attributes:
        text: what the child said last, at most MAX_TEXT bytes. The last text of an ended child is its report.
        truncated: whether `text` is not all that the child has to say: it is cut, or the child was stopped,
            or goes on.
        error: why it did not do all of its task; None: it did, or goes on.
        usage: of the child, over all its turns.
        elapsed_ms: how long its turn takes so far, or took.
    """

    id: str
    status: ReportedStatus
    text: str
    truncated: bool
    error: ReportedError | None
    usage: Usage
    elapsed_ms: int

    @property
    def has_ended(self) -> bool:
        """Whether the child does nothing any more until it gets a message."""
        return self.status not in ("running", "paused")

    def to_json(self) -> dict[str, Any]:
        """Return it as the model reads it, without the fields of the usage that are not known."""
        shown: dict[str, Any] = msgspec.to_builtins(self)
        shown["usage"] = {name: value for name, value in shown["usage"].items() if value is not None}
        return shown


# ------------------------------------------------------------------------------- limits


class Limits(msgspec.Struct, frozen=True, gc=False):
    """How far a root may delegate (see SubagentSettings)."""

    depth: int
    parallel: int
    total: int

    @classmethod
    def of(cls, settings: SubagentSettings) -> "Limits":
        """Return the limits that settings lead to."""
        return cls(
            DEPTH if settings.depth is None else settings.depth,
            PARALLEL if settings.parallel is None else settings.parallel,
            TOTAL if settings.total is None else settings.total,
        )

    def find_problem_of_spawn(self, active: int, total: int) -> str | None:
        """Return why a root with so many children gets no further one; None: it does."""
        if self.depth < 1:
            return (
                "This chat may not start agents (settings.agent.subagents.depth is 0). Do the work yourself."
            )
        if total >= self.total:
            return (
                f"This chat has had {total} agents; it may have {self.total} in all"
                " (settings.agent.subagents.total). Give the work to one that you have (message_agent), or do"
                " it yourself."
            )
        return self.find_problem_of_work(active)

    def find_problem_of_work(self, active: int) -> str | None:
        """Return why no further child may begin a turn now; None: it may."""
        if active < self.parallel:
            return None
        who = "1 agent works" if active == 1 else f"{active} agents work"
        return (
            f"{who} already, and {self.parallel} may at the same time (settings.agent.subagents.parallel)."
            " Wait for one with wait_agents, or stop one with stop_agent."
        )


DEFAULT_LIMITS: Final = Limits.of(SubagentSettings())

# -------------------------------------------------------------------------------- texts

_BRIEFING: Final = (
    "You are an agent to whom another agent has given a task. Your last message is your report: it is all"
    " that the other agent gets of your work, and at most 16 KiB of it. Do the task on your own. Then write"
    " what you have done and found out, with the paths and lines that matter, and what is left open. If you"
    " cannot do the task, say so, and why."
)


def briefing(system_prompt: str | None, role: str | None) -> str:
    """Return the system prompt of a child, from its parent's and from its role."""
    parts = [system_prompt, _BRIEFING, role and f"Your role: {role}"]
    return "\n\n".join([part for part in parts if part])


_LIMITS: Final = {
    "max_steps": "It was stopped at its limit of model calls (maxSteps).",
    "max_cost": "It was stopped at the limit of the cost (maxCostUsd).",
    "max_time": "It was stopped at the limit of the time (maxMs).",
    "loop": "It was stopped because it made the same calls again and again.",
    "length": "Its last message was cut off at the model's limit of tokens.",
    "content_filter": "Its last message was cut off by the provider's content filter.",
}


def make_report(
    id: str,
    status: ReportedStatus,
    text: str,
    usage: Usage,
    elapsed_ms: int,
    *,
    stop_reason: str | None = None,
    failure: Failure | None = None,
) -> Report:
    """Return the report on a child.

    `text` is what it said last, `stop_reason` and `failure` are those of its last turn.
    """
    shown, is_cut = shorten(text)
    error = None if failure is None else ReportedError(failure.kind, failure.message)
    if status == "completed":
        if stop_reason in _LIMITS:
            error = ReportedError("limit", f"{_LIMITS[stop_reason]} What it has said may not be all.")
        elif not text.strip():
            error = ReportedError("no_text", "It has ended without a word. Ask it with message_agent.")
    elif status == "interrupted" and error is None:
        error = ReportedError("interrupted", "It was stopped before it was done.")
    is_whole = status == "completed" and error is None
    return Report(id, status, shown, is_cut or not is_whole, error, usage, elapsed_ms)


def shorten(text: str, limit: int = MAX_TEXT) -> tuple[str, bool]:
    """Return a text of at most `limit` bytes of UTF-8, and whether it is cut: then its middle is left out."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text, False
    note = f"\n[… {len(encoded) - limit:,} bytes or more left out; ask for them with message_agent …]\n"
    kept = limit - len(note.encode())
    head = encoded[: kept * 3 // 4].decode(errors="ignore")
    tail = encoded[len(encoded) - kept // 4 :].decode(errors="ignore")
    return f"{head}{note}{tail}", True


# --------------------------------------------------------------------------------- news

REPORTING: Final = frozenset({"spawn_agent", "wait_agents", "stop_agent"})
"""The tools whose results have reports."""


def find_unread(history: Iterable[Message], ended: Sequence[str]) -> list[str]:
    """Return the children among `ended` whose end the model has not been told of, in the order given.

    `history` is what the model gets. A report counts until the child gets another message.
    """
    read = set[str]()
    wakes: dict[str, str] = {}
    for message in history:
        for part in message.content:
            if isinstance(part, ToolCall) and part.tool_name == "message_agent":
                wakes[part.tool_call_id] = _id_of(part.args)
            elif isinstance(part, ToolResult) and part.outcome == "ok":
                if part.tool_name == "message_agent":
                    read.discard(wakes.get(part.tool_call_id, ""))
                elif part.tool_name in REPORTING:
                    read.update(_reported(part.result))
    return [id for id in ended if id not in read]


def _id_of(args: Any) -> str:
    found: Any = cast("dict[str, Any]", args).get("id") if isinstance(args, dict) else None
    return found if isinstance(found, str) else ""


def _reported(result: Any) -> list[str]:
    """Return the ids of the ended children in the result of a tool."""
    entries: list[Any] = cast("list[Any]", result) if isinstance(result, list) else [result]
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, dict):
            report = cast("dict[str, Any]", entry)
            if report.get("status") in ("completed", "failed", "interrupted") and isinstance(
                report.get("id"), str
            ):
                found.append(report["id"])
    return found


NEWS: Final = "[This is no message of the user. "
"""The beginning of what a model is told of its children."""


def describe_news(unread: Sequence[tuple[str, str, str | None]]) -> str | None:
    """Return what a model is told of children that have ended meanwhile; None: nothing.

    `unread`: id, status and title of each.
    """
    if not unread:
        return None
    lines = [f"- {id} {status}" + (f": {title}" if title else "") for id, status, title in unread]
    return (
        f"{NEWS}Agents of yours have ended. Read their reports with wait_agents:\n" + "\n".join(lines) + "]"
    )
