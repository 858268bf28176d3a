"""What the model of a root chat is told of its children, and of what is wrong with a call about them."""

from collections.abc import Iterable, Sequence

from parley_daemon.core.agents.tools import ToolOutput
from parley_daemon.core.children import Child, ChildStatus
from parley_daemon.core.records import Usage
from parley_daemon.core.subagents import Report, ReportedError, ReportedStatus, make_report
from parley_daemon.engine.agents.children import ChildChats, ChildReport
from parley_daemon.engine.errors import ChatNotFoundError
from parley_daemon.ports.tools import ToolInputError

NOTHING_LEFT = "The turn has cost as much as it may (settings.agent.maxCostUsd), so no agent works for it."
"""Why a turn without money sets no agent to work."""

_TITLE = 80


def report_of(child: ChildReport) -> Report:
    """Return the report on a child."""
    return make_report(
        child.id,
        reported_status(child.status),
        child.text,
        child.usage,
        child.elapsed_ms,
        stop_reason=child.stop_reason,
        failure=child.error,
    )


def reports_of(ids: Iterable[str], children: Iterable[ChildReport]) -> list[Report]:
    """Return the reports on these children, also on those that were deleted meanwhile."""
    found = {child.id: child for child in children}
    return [report_of(found[id]) if id in found else _report_of_deleted(id) for id in ids]


def _report_of_deleted(id: str) -> Report:
    error = ReportedError("deleted", "Its chat was deleted.")
    return Report(id, "interrupted", "", True, error, Usage(), 0)


def reported_status(status: ChildStatus) -> ReportedStatus:
    """Return a status in the words of a report. A child that has nothing to do has not done a task."""
    return "interrupted" if status == "waiting" else status


async def find_children(children: ChildChats, parent_id: str, ids: Iterable[str]) -> Sequence[Child]:
    """Return the children with these ids, each once.

    Raises:
        ToolInputError: one of them is no child of the parent.
    """
    known = {child.chat_id: child for child in await children.list(parent_id)}
    for id in ids:
        if id not in known:
            raise ToolInputError(f"there is no agent {id!r}. Yours are: {', '.join(known) or 'none'}.")
    return [known[id] for id in dict.fromkeys(ids)]


def gone(error: ChatNotFoundError) -> ToolOutput:
    """Return the output of a call about a child that was deleted while it ran."""
    return failed(f"An agent is gone: its chat was deleted. {error}")


def failed(why: str) -> ToolOutput:
    """Return the output of a call that was not done for this reason."""
    return ToolOutput(why, "failed")


def name_of(child: Child) -> str:
    """Return what people know a child by."""
    return child.title or child.chat_id


def shorten(text: str) -> str:
    """Return the beginning of a text as one line."""
    line = " ".join(text.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"
