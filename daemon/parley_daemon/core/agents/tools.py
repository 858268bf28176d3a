"""Tools and their calls as records: what a tool is, and what one call of it would do."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from parley_daemon.core.agents.rules import Reach
from parley_daemon.core.parts import ToolOutcome

ToolKind = Literal["read", "edit", "execute", "fetch", "agent", "ask"]
"""What a tool does at most. The mode of a chat decides by it (see `permissions`)."""

ChangeType = Literal["added", "modified", "deleted", "renamed"]

ActionKind = Literal["permission", "question", "plan", "tool", "elicitation", "trust", "loop"]
"""What a person or a client is asked for."""

ApprovedMode = Literal["ask", "edits", "auto"]
"""The modes that an approved plan leads to."""


class ToolSpec(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A tool as a model and a person see it.

    Attributes:
        name: at most 64 of `A-Z a-z 0-9 _ -`; unique in a chat.
        title: a few words for people.
        input_schema: JSON Schema of the arguments, an object.
        source: "builtin", "client", "package:" with the name of a package, or "mcp:" with that of a server.
        needs_root: whether it is unavailable in a chat without a root folder.
        timeout_ms: how long one call may take, None: the tool limits itself.
        is_for_plans: whether it is only offered in the mode "plan".
        runs_together: whether calls of it that follow each other run at the same time. Those of tools that
            only read do so in any case.
        delegates: whether it is for the children of a root chat, which children do not have.
        retrieves: whether it searches the context of a chat, so that `retrieval` can turn it off.
        problem: why it cannot be used in any chat, a sentence; None: it can. People see it, models do not.
    """

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    kind: ToolKind
    source: str = "builtin"
    needs_root: bool = False
    timeout_ms: int | None = None
    is_for_plans: bool = False
    runs_together: bool = False
    delegates: bool = False
    retrieves: bool = False
    problem: str | None = None


class PathUse(msgspec.Struct, frozen=True, gc=False):
    """A path that a call reads or changes.

    Attributes:
        path: absolute, with every symbolic link resolved as of the inspection.
        access: what the call does with it.
        place: "root": at or below a root of the chat. "protected": never changed, whatever the rules say.
        root: the root that it lies below, if any.
    """

    path: str
    access: Literal["read", "edit"]
    place: Literal["root", "elsewhere", "protected"]
    root: str | None = None


class ServerForm(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What an MCP server asks a person during a call, in its own words.

    `answer_schema`: of the answers, an object; None: the person is to visit the URL of the preview.
    """

    server: str
    message: str
    answer_schema: Mapping[str, Any] | None = None


class Preview(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """What a person is shown before a call runs. Fields that do not apply are None.

    `paths` are absolute. `diff` is a unified diff of at most 64 KiB. `questions` is the list of `ask_user`.
    `network` is what the command reaches by rules, where the sandbox gives less. `form` is what an MCP server
    asks for.
    """

    command: str | None = None
    cwd: str | None = None
    paths: tuple[str, ...] | None = None
    diff: str | None = None
    url: str | None = None
    plan: str | None = None
    questions: Any = None
    network: Reach | None = None
    form: ServerForm | None = None


class Inspection(msgspec.Struct, frozen=True, gc=False):
    """What one call would do, found out without doing it. The policy decides on it.

    Attributes:
        title: one line for people, such as "Edit src/main.py".
        preview: the rest that people are shown.
        paths: all paths that it reads or changes, as far as they are known; empty for a command.
        command: the shell command, None for tools that run none.
        cwd: absolute folder of the command.
        host: the host of the URL to fetch, with the port if it is not the scheme's own.
        asks: what the call itself asks of a person or a client, None if it asks nothing: `ask_user`
            ("question"), `exit_plan` ("plan"), tools of clients ("tool").
        bound_to: hashes of what else the approval holds for, such as a script file that the command runs,
            by its absolute path. The call is asked about again if one has changed since.
        exposed: paths that rules deny, and that the command could use all the same, since its sandbox cannot
            hide them, in words; "": none.
        kind: the kind of this call where it is less than the tool's own kind.
    """

    title: str
    preview: Preview = Preview()
    paths: tuple[PathUse, ...] = ()
    command: str | None = None
    cwd: str | None = None
    host: str | None = None
    asks: ActionKind | None = None
    bound_to: tuple[tuple[str, str], ...] = ()
    exposed: str = ""
    kind: ToolKind | None = None


class FileChange(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A file that a call has changed. `path` is absolute.

    `restorable`: whether what was there before is kept. The counts are lines, None for binary files.
    """

    path: str
    change_type: ChangeType
    additions: int | None
    deletions: int | None
    restorable: bool


class ToolOutput(msgspec.Struct, frozen=True, gc=False):
    """What a call resulted in.

    Attributes:
        result: a string; or content, which is a list of parts in their wire form (`{"type": "text", "text"}`,
            `{"type": "file", "mediaType", "data"}`); or any other JSON value.
        outcome: "ok", or why it is an error.
        files: what it has changed.
        checkpoint_id: the checkpoint that has the files' earlier states; None if it changed nothing.
        mode: the chat's mode from now on; None: it stays. Only for what a person has approved.
        found: names of tools that the model gets from now on (see `search_tools`).
    """

    result: Any
    outcome: ToolOutcome = "ok"
    files: tuple[FileChange, ...] = ()
    checkpoint_id: str | None = None
    mode: ApprovedMode | None = None
    found: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether the model is told that the call failed."""
        return self.outcome != "ok"
