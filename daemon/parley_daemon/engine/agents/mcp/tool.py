"""One tool of an MCP server as a tool of chats.

Theory of operation. The arguments are checked by the tool's own schema before anybody is asked. A call is
bound to the tool as it was described: if the server describes it differently by the time of an approval, the
call is asked about again. A call runs at most once. If its fate is unknown, because the server has ended or
does not answer, the result says so, and it is for the model to find out before it calls again.
"""

from typing import Any

import anyio
import msgspec

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.mcp_tools.forms import MAX_MESSAGE, find_form_problem, read_form_answers
from parley_daemon.core.agents.mcp_tools.output import clean_text, find_text_limit, limit_content
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, Preview, ServerForm, ToolOutput, ToolSpec
from parley_daemon.engine.agents.mcp.servers import ChatServer
from parley_daemon.ports.mcp import (
    McpCallError,
    McpConnectError,
    McpLimits,
    McpQuestion,
    McpReply,
    McpResult,
    McpToolInfo,
)
from parley_daemon.ports.schemas import SchemaCheckError, Schemas
from parley_daemon.ports.tools import CallContext, CallMonitor, ToolInputError

MAX_PROGRESS = 32 * 1024
"""Characters of progress that one call streams."""

MAX_LINE = 500
"""Characters of one line of progress."""

MAX_QUESTIONS = 10
"""Questions that a server may ask during one call."""

_UNKNOWN = "It is not known whether {name} has done its work: find out before you call it again."
_HARMLESS = "{name} may be called again: its server says that this does no harm."


class DescribedTool(msgspec.Struct, frozen=True, gc=False):
    """A tool of a server as models and people see it.

    `digest`: a hash of the description. `tokens`: about how many it takes in a request.
    """

    info: McpToolInfo
    spec: ToolSpec
    digest: str
    tokens: int


class McpTool:
    """Implements Tool: its calls go to a server.

    `checking` is held while arguments are checked: a schema of the server can make that last until its limit,
    and must not keep those of others waiting.
    """

    def __init__(
        self, described: DescribedTool, server: ChatServer, schemas: Schemas, checking: anyio.Lock
    ) -> None:
        self.spec = described.spec
        self.server = server
        self.described = described
        self._schemas = schemas
        self._checking = checking

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """Check the arguments by the tool's schema; see Tool."""
        try:
            async with self._checking:
                violation = await self._schemas.check_value(self.spec.input_schema, args)
        except SchemaCheckError:
            raise ToolInputError(
                f"the arguments of {self.spec.name} could not be checked by its schema"
            ) from None
        if violation is not None:
            where = f"{violation.path}: " if violation.path else "the object "
            raise ToolInputError(f"{where}{violation.problem}")
        title = f"{self.server.name}: {self.spec.title}"
        return Inspection(title, bound_to=((self.spec.source, self.described.digest),))

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Call the tool, once; see Tool."""
        watched = _Monitor(monitor, self.server.name)
        try:
            async with self.server.use() as connection:
                result = await connection.call(self.described.info.name, args, McpLimits(), watched)
        except McpConnectError as error:
            return ToolOutput(f"{error} The call did not run.", "failed")
        except McpCallError as error:
            return ToolOutput(self._explain(error), "timed_out" if error.fate == "timed_out" else "failed")
        return _output(result, find_text_limit(context.context_limit))

    def _explain(self, error: McpCallError) -> str:
        if error.fate == "refused":
            return str(error)
        info = self.described.info
        is_harmless = self.server.trusts_hints and (info.read_only or info.idempotent)
        return f"{error} {(_HARMLESS if is_harmless else _UNKNOWN).format(name=self.spec.name)}"

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool. The server runs outside of the sandbox, and not for the call alone."""
        return None


def _output(result: McpResult, limit: int) -> ToolOutput:
    content: Any = limit_content(result.content, limit)
    if not content and result.structured is not None:
        text = msgspec.json.encode(result.structured).decode()
        content = limit_content([{"type": "text", "text": text}], limit)
    return ToolOutput(content or "The tool has returned nothing.", "failed" if result.is_error else "ok")


class _Monitor:
    """Implements McpCallMonitor for one call."""

    def __init__(self, monitor: CallMonitor, server: str) -> None:
        self._monitor = monitor
        self._server = server
        self._left = MAX_PROGRESS
        self._questions = 0

    async def progress(self, text: str) -> None:
        """See McpCallMonitor."""
        line = clean_text(" ".join(text.split())[:MAX_LINE])
        if not line or self._left <= 0:
            return
        self._left -= len(line) + 1
        await self._monitor.report(
            f"{line}\n" if self._left > 0 else f"{line}\n[no more progress is shown]\n"
        )

    async def ask(self, question: McpQuestion) -> McpReply:
        """See McpCallMonitor. What cannot be shown as a form is declined."""
        self._questions += 1
        if self._questions > MAX_QUESTIONS:
            return McpReply("decline")
        if question.url is not None:
            if not question.url.startswith(("https://", "http://")):
                return McpReply("decline")
        elif find_form_problem(question.schema) is not None:
            return McpReply("decline")
        form = ServerForm(self._server, question.message[:MAX_MESSAGE], question.schema)
        preview = Preview(url=question.url, form=form)
        answer = await self._monitor.ask(f"{self._server} asks: {_first_line(question.message)}", preview)
        if answer.outcome == "allowed":
            if question.url is not None:
                return McpReply("accept")
            return McpReply("accept", read_form_answers(answer.result))
        return McpReply("decline" if answer.outcome == "denied" else "cancel")


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
