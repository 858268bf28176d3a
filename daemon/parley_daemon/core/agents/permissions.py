"""The policy: which calls run, which are asked about, and which are refused.

Theory of operation. `decide` is a pure function of the rules, the chat and the inspection of a call. All
rules that match count, and the strictest of them wins: deny over ask over allow. Their order has no effect,
and a deny never widens anything. If no rule matches, the table of the chat's mode decides (MODE_TABLE).
"""

from typing import Literal

import msgspec

from parley_daemon.core.agents.tools import Inspection, ToolKind

Effect = Literal["allow", "ask", "deny"]
AgentMode = Literal["off", "plan", "ask", "edits", "auto"]
SandboxKind = Literal["bwrap", "landlock", "seatbelt", "none"]


class RuleScope(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Where a rule counts: in one chat, below one root (a file URI), or, with neither, always."""

    chat_id: str | None = None
    root: str | None = None


class Rule(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A permission rule. It matches a call if everything that it names matches.

    Attributes:
        tool: glob of tool names.
        command: a prefix of the words of a simple command, such as `git status`.
        paths: globs; the call's paths have to match one of them.
        hosts: globs of host names.
        human: only a person may allow what this rule asks about, in every mode.
        expires_at: RFC 3339; None: never.
        match, not_match: examples, which are tested when the rule is loaded.
        source: where it comes from, such as "user", "config", "project" or "request:ID".
    """

    id: str
    effect: Effect
    tool: str
    command: str | None = None
    paths: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    human: bool = False
    scope: RuleScope = RuleScope()
    expires_at: str | None = None
    match: tuple[str, ...] = ()
    not_match: tuple[str, ...] = ()
    source: str = "user"


class ChatFacts(msgspec.Struct, frozen=True, gc=False):
    """What the policy has to know of a chat. `roots` are absolute paths. `now` is RFC 3339.

    `sandbox` is what commands of this chat would run in; `is_weak`: it does not hold, such as for root.
    """

    chat_id: str
    mode: AgentMode
    roots: tuple[str, ...]
    interactive: bool
    sandbox: SandboxKind
    is_weak: bool
    now: str


class CommandDecision(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The decision on one simple command of a shell command."""

    argv: tuple[str, ...]
    decision: Effect
    rule_id: str | None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the policy says of a call.

    Attributes:
        decision: what to do.
        rules: the ids of the rules that decided; empty: the mode did.
        why: one sentence for people and for the result of a denied call.
        commands: the simple commands of a shell command.
        rememberable: rules that may be offered for "always", as they would be stored; their ids are empty.
        human: whether only a person may allow it.
    """

    decision: Effect
    rules: tuple[str, ...]
    why: str
    commands: tuple[CommandDecision, ...] = ()
    rememberable: tuple[Rule, ...] = ()
    human: bool = False


MODE_TABLE: dict[tuple[ToolKind, AgentMode], Effect] = {
    ("edit", "plan"): "deny",
    ("edit", "ask"): "ask",
    ("edit", "edits"): "allow",
    ("edit", "auto"): "allow",
    **{
        (kind, mode): "allow"
        for kind in ("read", "agent", "ask")
        for mode in ("plan", "ask", "edits", "auto")
    },
    **{(kind, mode): "ask" for kind in ("execute", "fetch") for mode in ("plan", "ask", "edits", "auto")},
}
"""The decision where no rule matches, for paths below the roots. `decide` knows the exceptions."""


def decide(
    rules: tuple[Rule, ...], chat: ChatFacts, spec_name: str, kind: ToolKind, call: Inspection
) -> Verdict:
    """Return what to do with a call. `kind` is the kind of the call (see Inspection.kind)."""
    if chat.mode == "off":
        return Verdict("deny", (), "Tools are off in this chat.")
    decision = MODE_TABLE[kind, chat.mode]
    return Verdict(
        decision, (), f"In the mode {chat.mode}, {spec_name} is a tool of kind {kind}: {decision}."
    )
