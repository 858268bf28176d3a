"""Action requests: the questions of a turn that a person or a client answers."""

from typing import Any, Literal

import msgspec

from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.agents.tools import ActionKind, Preview

ActionDecision = Literal["allow", "allow_always", "deny"]
ActionOutcome = Literal["allowed", "denied", "interrupted", "expired"]


class ActionRequest(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A question that is stored until it is answered, and is never answered by itself.

    Attributes:
        id: UUIDv7, fixed over restarts.
        chat_id: the chat where it arose.
        args: the arguments of the call as they were shown.
        options: the decisions that are possible.
        args_hash: of the arguments and of what the approval is bound to; an answer to another hash is stale.
        rules: the rules that "always" may store; their ids are those to answer with.
        human: only a person may allow it.
        expires_at: RFC 3339; None: never.
    """

    id: str
    chat_id: str
    turn_id: str
    kind: ActionKind
    created_at: str
    title: str
    tool_call_id: str | None = None
    tool_name: str | None = None
    args: Any = None
    options: tuple[ActionDecision, ...] = ("allow", "deny")
    preview: Preview = Preview()
    args_hash: str = ""
    rules: tuple[Rule, ...] = ()
    human: bool = False
    expires_at: str | None = None


class Answer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """How an action request was resolved. `by` is the name of a client or the id of a rule; `result` is what
    was answered beside the decision, such as the answers to questions or the result of a client's tool.
    """

    outcome: ActionOutcome
    by: str | None = None
    result: Any = None
    rule_id: str | None = None
