"""Params and results of the methods about what models may do: rules, trust, instructions."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from parley_protocol.models.base import Count, Id, Params, Timestamp, Uri, Wire
from parley_protocol.models.objects import ChatScope, NetworkReach, OfferedRule, RootScope, RuleScope

RuleEffect = Literal["allow", "ask", "deny"]
RuleSource = Annotated[str, Field(min_length=1)]
InstructionState = Literal["used", "untrusted", "unusable"]

_Glob = Annotated[str, Field(min_length=1, max_length=1024)]
_Patterns = Annotated[list[_Glob], Field(min_length=1, max_length=100)]
_Example = Annotated[str, Field(max_length=4096)]
_Examples = Annotated[list[_Example], Field(max_length=50)]


def _tag_of_scope(value: object) -> str | None:
    if value == "always":
        return "<always>"
    if isinstance(value, RootScope) or (isinstance(value, dict) and "root" in value):
        return "<root>"
    return "<chat>" if isinstance(value, ChatScope | dict) else None


NewRuleScope = Annotated[
    Annotated[ChatScope, Tag("<chat>")]
    | Annotated[RootScope, Tag("<root>")]
    | Annotated[Literal["always"], Tag("<always>")],
    Discriminator(
        _tag_of_scope,
        custom_error_type="parley_scope",
        custom_error_message='must be {"chatId"}, {"root"} or "always"',
    ),
]


class PermissionRule(Wire):
    """A permission rule. It matches what a call does if everything that it names matches.

    - `command` is the beginning of a simple shell command; null: any call. `exact`: it is the whole command.
    - `paths` and `hosts` are globs, one of which has to match; null: any.
    - `source` is where it comes from: "user", "config" (the configuration file), "project" (a file that is
      trusted), "untrusted" (one that is not), or "request:ID" (an answer to that action request).
    - `text` is the rule in one line, as it was shown before it was stored.
    """

    id: str
    effect: RuleEffect
    tool: str
    command: str | None = None
    """The first words of a simple command; null: the rule is not about commands."""
    exact: bool = False
    paths: list[str] | None = None
    """Globs of paths; null: any."""
    hosts: list[str] | None = None
    network: NetworkReach | None = None
    human: bool = False
    """Whether only a person may allow what the rule asks about."""
    scope: RuleScope
    expires_at: str | None = None
    """Until when the rule counts: RFC 3339 in UTC with milliseconds; null: for good."""
    match: list[str] = Field(default_factory=list[str])
    not_match: list[str] = Field(default_factory=list[str])
    source: RuleSource
    """Where it comes from: "user", "config", "project", "untrusted" or "request:ID"."""
    text: str
    """The rule in one line."""


class ProjectRules(Wire):
    """The file `.parley/permissions.toml` of a chat's folder. Until it is trusted, it only asks and denies.

    `hash` is what `workspace/trust` takes; "" if the file cannot be used, and then `complaint` says why.
    """

    root: Uri
    """The URI of the folder."""
    uri: Uri
    hash: str
    trusted: bool
    complaint: str | None = None
    """What is wrong with the file, and in which line; null: nothing."""


class PermissionListParams(Params):
    """Params of `permission/list`: a chat, a folder, or neither of them."""

    chat_id: Id | None = None
    """Only rules that count for this chat, with those of its projects; null: all that are no project's."""
    root: Uri | None = None
    """Only rules that count in this folder, with those of its own file."""


class PermissionListResult(Wire):
    """Result of `permission/list`. `complaint` is what is wrong with the configuration file."""

    rules: list[PermissionRule]
    projects: list[ProjectRules] = Field(default_factory=list[ProjectRules])
    """The files of the chat's projects that have rules."""
    complaint: str | None = None


class PermissionAddParams(Params):
    """Params of `permission/add`. A rule that makes no sense, or one of whose examples fails, is refused."""

    effect: RuleEffect
    tool: _Glob = "*"
    command: Annotated[str | None, Field(max_length=4096)] = None
    """The first words of a simple command; null: the rule is not about commands."""
    exact: bool = False
    paths: _Patterns | None = None
    """Globs of paths; null: any."""
    hosts: _Patterns | None = None
    network: NetworkReach | None = None
    """What the command reaches, where the sandbox gives less; null: what that gives. Needs the tool "run",
    a command, and the effect "allow" or "ask".
    """
    human: bool = False
    """Whether only a person may allow what the rule asks about. Needs the effect "ask"."""
    scope: NewRuleScope = "always"
    expires_at: Timestamp | None = None
    """Until when the rule counts, RFC 3339; null: for good."""
    match: _Examples = Field(default_factory=list[str])
    not_match: _Examples = Field(default_factory=list[str])


class PermissionRemoveParams(Params):
    """Params of `permission/remove`. Only rules that were added or answered can be removed."""

    id: Id
    """The id of the rule."""


class PermissionExplainParams(Params):
    """Params of `permission/explain`."""

    chat_id: Id
    tool_name: Id
    args: Any
    """The arguments of the call."""


class CommandDecision(Wire):
    """What the policy says of one simple command. `ruleId` is a rule that decided, null: the mode did.

    A command that runs another one, such as `timeout 9 make`, is followed by that one.
    """

    argv: list[str]
    decision: RuleEffect
    rule_id: str | None = None


class PermissionExplainResult(Wire):
    """What would become of a call. Nothing has been run.

    - `rules` are the ids of the rules that decided; none: the mode did.
    - `commands` are the simple commands of a shell command; none: there are none, or it cannot be read.
    - `rememberable`: whether rules may be offered for "always"; `offers` are these.
    """

    decision: RuleEffect
    rules: list[str]
    """The ids of the rules that decided; empty: the mode did."""
    why: str
    commands: list[CommandDecision] = Field(default_factory=list[CommandDecision])
    rememberable: bool
    offers: list[OfferedRule] = Field(default_factory=list[OfferedRule])
    human: bool = False
    """Whether only a person may allow it."""
    network: NetworkReach | None = None


class WorkspaceTrustParams(Params):
    """Params of `workspace/trust`: whether a file of a project counts with exactly its present content."""

    root: Uri
    """The URI of the project's folder."""
    hash: Annotated[str, Field(min_length=1, max_length=256)]
    """The hash of the file, from `permission/list` or `agent/instructions`."""
    trusted: bool


class WorkspaceTrustResult(Wire):
    """Result of `workspace/trust`."""

    trusted: bool


class AgentInstructionsParams(Params):
    """Params of `agent/instructions`: a chat, or a folder."""

    chat_id: Id | None = None
    root: Uri | None = None
    """The URI of a folder, instead of a chat."""


class InstructionFile(Wire):
    """A file AGENTS.md, and what becomes of it in a chat.

    - `root` is the project's folder, null for the file of the configuration's folder.
    - `state`: "used" in agent turns, "untrusted" until `workspace/trust` says otherwise, or "unusable".
    - `text` is what the model gets, or would get after trust.
    """

    uri: Uri
    root: Uri | None = None
    """The URI of the project's folder; null: it is your own file."""
    hash: str
    state: InstructionState
    text: str
    size: Count
    """The size of the whole file in bytes."""
    truncated: bool = False
    problem: str | None = None
    """Why it cannot be used; null: it can."""


class AgentInstructionsResult(Wire):
    """Result of `agent/instructions`: the files in the order in which the model gets them."""

    files: list[InstructionFile]
    """The files AGENTS.md of the configuration's folder and of the chat's folders."""
