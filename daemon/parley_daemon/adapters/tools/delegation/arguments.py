"""The arguments of the tools that delegate."""

from typing import Annotated

import msgspec

from parley_daemon.core.subagents import MAX_WAIT_MS

MAX_TASK = 100_000
MAX_ROLE = 10_000
MAX_IDS = 64

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="The id of an agent of yours.")]
_Globs = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]],
    msgspec.Meta(min_length=1, max_length=64),
]
_Role = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ROLE)]
_Model = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SpawnArguments(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """The arguments of `spawn_agent`."""

    task: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=MAX_TASK,
            description="The whole task. The agent knows nothing of this chat: name the files, what is known"
            " already, and what its report is to say.",
        ),
    ]
    role: Annotated[
        _Role | None,
        msgspec.Meta(
            description="What the agent is, such as: a reviewer who looks for races and changes nothing."
        ),
    ] = None
    tools: Annotated[
        _Globs | None,
        msgspec.Meta(
            description="The only tools of yours that it gets, as names or globs. Absent: all but those for"
            " agents."
        ),
    ] = None
    model: Annotated[
        _Model | None,
        msgspec.Meta(description="Another model, as provider:model. Absent: your own."),
    ] = None
    background: Annotated[
        bool,
        msgspec.Meta(
            description="true: answer at once, and go on working beside the agent. false: answer with its"
            " report."
        ),
    ] = False


class WaitArguments(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """The arguments of `wait_agents`."""

    ids: Annotated[list[_Id], msgspec.Meta(min_length=1, max_length=MAX_IDS)]
    wait_ms: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=MAX_WAIT_MS,
            description="The most milliseconds to wait. What still runs then is reported as running.",
        ),
    ] = MAX_WAIT_MS
    any: Annotated[
        bool, msgspec.Meta(description="true: wait until one of them has ended. false: until all have.")
    ] = False


class MessageArguments(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """The arguments of `message_agent`."""

    id: _Id
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TASK)]
    interrupt: Annotated[
        bool,
        msgspec.Meta(
            description="true: it stops what it does for this. false: it gets the message after its step."
        ),
    ] = False


class StopArguments(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """The arguments of `stop_agent`."""

    id: _Id


class ListArguments(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """The arguments of `list_agents`: none."""
