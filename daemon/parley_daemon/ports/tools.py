"""The port to tools: what a tool offers, what a call gets, and what it may use while it runs.

Theory of operation. A turn gets the tools of its chat from the toolbox. For each call it first asks the tool
to `inspect` the arguments: the tool validates them and says what the call would do, without doing it. The
policy decides on that inspection; a person is asked if need be. Then the call is inspected again, and only if
it would still do the same is it `run`. What a model did wrong is no fault of a tool: `ToolInputError`, and an
output that is an error, become results that the model reads, and so does `ToolFailedError`. What else a tool
raises is a fault: the model is told that there was one, and the log has the details.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import AgentMode, DeniedGlob, Reach, SandboxKind
from parley_daemon.core.agents.tools import FileChange, Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.core.records import Chat, Context, SubagentSettings
from parley_daemon.ports.sandbox import SandboxState


class ToolInputError(Exception):
    """The arguments are invalid. The message is written for the model and says what is expected."""


class ToolFailedError(Exception):
    """The call cannot be inspected, or has failed. The message is written for the model."""


class Workspace(msgspec.Struct, frozen=True, gc=False):
    """The folders that a chat may work in.

    Attributes:
        roots: absolute paths of folders that exist, resolved.
        problem: why there is no root, or why one of them cannot be used; a sentence. None: all is well.
    """

    roots: tuple[str, ...] = ()
    problem: str | None = None


class CallContext(msgspec.Struct, frozen=True, gc=False):
    """What a tool has to know of a call.

    `message_id` is the id of the message that has the call. `context_limit`: tokens of the model, None if it
    is not known; the limit of an output depends on it. `origin` is the name of the client that asked.
    `network`: what a command of the call reaches by rules, where the sandbox gives less.
    `denied`: what rules keep from commands.
    `withheld`: absolute globs, in small letters, of what a call that looks through a folder leaves out.
    `ms_left`, `cost_left_usd`: what is left of the limits of the turn; None: it has no such limit.
    `subagents`: how far its model may delegate. `context`: what the chat is about.
    """

    chat_id: str
    owner: str
    turn_id: str
    message_id: int
    tool_call_id: str
    mode: AgentMode
    workspace: Workspace
    context_limit: int | None = None
    origin: str | None = None
    withheld: tuple[str, ...] = ()
    network: Reach | None = None
    denied: tuple[DeniedGlob, ...] = ()
    ms_left: int | None = None
    cost_left_usd: float | None = None
    subagents: SubagentSettings = SubagentSettings()
    context: Context = Context()


class OtherTurns(Protocol):
    """What a call says of the turns of other chats that it waits for."""

    def set_blocked(self, *, blocked: bool) -> None:
        """Say whether all of them only wait for answers of people. Then the call's turn does so, too."""
        ...


class CallMonitor(Protocol):
    """What a running call may use of its turn."""

    async def report(self, text: str) -> None:
        """Stream a piece of the output to the chat's subscribers. A tool limits how much it reports."""
        ...

    async def ask(self, title: str, preview: Preview) -> Answer:
        """Ask a person what the call needs to know to go on (kind "elicitation"), however long it takes.

        The answer is "denied" at once where nobody answers questions.

        Raises:
            StoreUnavailableError: the question could not be stored.
        """
        ...

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        """Say what a call has changed that ends without an output, because it was interrupted or failed."""
        ...

    def note_progress(self, text: str) -> None:
        """Say what the result says of a call that ends without an output, if nothing was reported."""
        ...

    def wait_for_others(self) -> AbstractAsyncContextManager[OtherTurns]:
        """In the block, the call only waits for turns of other chats. Its own turn leaves them its slot."""
        ...


class Tool(Protocol):
    """A tool. One object serves the calls of all chats."""

    @property
    def spec(self) -> ToolSpec:
        """What the tool is. It does not change."""
        ...

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """Return what a call with these arguments would do. Changes nothing.

        Raises:
            ToolInputError: the arguments are invalid.
            ToolFailedError: it cannot be found out.
        """
        ...

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Do what the inspection says. It may be cancelled at any wait, and then leaves no process behind.

        `answer` is the answer to what the call itself asks (see Inspection.asks), otherwise None. A call
        whose question was denied is not run.

        Raises:
            ToolInputError: the arguments are invalid after all.
            ToolFailedError: it has failed.
        """
        ...

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """Return what a call would run in, None if it starts no process."""
        ...


class BackgroundJob(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A command that a tool has started in the background, as it is at one moment.

    Attributes:
        exit_status: None while it runs; 128 and the number of the signal if one ended it.
        ran_ms: milliseconds from its start to its end, or so far.
        output_bytes: of all that it has written.
        tail: the end of that, at most 4,096 bytes.
        notes: sentences about protected files that it changed, once it has ended.
    """

    id: str
    command: str
    state: Literal["running", "ended", "stopped"]
    exit_status: int | None
    ran_ms: int
    output_bytes: int
    tail: str
    notes: tuple[str, ...] = ()


class Toolbox(Protocol):
    """The tools that a chat has."""

    async def tools(self, chat: Chat) -> Sequence[Tool]:
        """Return all tools of a chat, sorted by name. Availability and rules are not considered."""
        ...

    async def names(self) -> frozenset[str]:
        """Return the names of all tools that belong to the toolbox itself, whatever chat asks."""
        ...

    async def workspace(self, chat: Chat) -> Workspace:
        """Return the folders of a chat, from `chat.context.repositories`."""
        ...

    async def sandbox(self) -> SandboxState:
        """Return what commands run in."""
        ...

    async def jobs(self, chat_id: str) -> Sequence[BackgroundJob]:
        """Return the jobs of a chat, the oldest first: those that run, and the last ones that have ended."""
        ...

    @property
    def running_jobs(self) -> int:
        """The number of jobs of all chats that run."""
        ...

    async def stop_job(self, chat_id: str, job_id: str) -> BackgroundJob | None:
        """Stop a job with all its processes, if it runs, and wait for its end. None: there is none."""
        ...

    async def forget(self, chat_id: str) -> None:
        """End what the tools of a deleted chat still do, such as jobs, and remove what they have kept."""
        ...
