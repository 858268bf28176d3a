"""Permission rules as records, what the policy has to know of a chat, and what it says of a call."""

from typing import Literal

import msgspec

Effect = Literal["allow", "ask", "deny"]
AgentMode = Literal["off", "plan", "ask", "edits", "auto"]
SandboxKind = Literal["bwrap", "landlock", "seatbelt", "none"]
Reach = Literal["loopback", "all"]
"""What a rule lets a command reach: servers on its own loopback, or everything."""

UNTRUSTED = "untrusted"
"""The source of a rule of a project that nobody has trusted. It may ask and deny, but allows nothing."""


class RuleScope(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Where a rule counts: in one chat, below one root (a file URI), or, with neither, always."""

    chat_id: str | None = None
    root: str | None = None


class Rule(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A permission rule. It matches what a call does if everything that it names matches.

    Attributes:
        tool: glob of tool names.
        command: the first words of a simple command, such as `git status`.
        exact: `command` has all words; a command with more arguments does not match.
        paths: globs (see `globs`), one of which has to match.
        hosts: globs of host names, one of which has to match.
        network: what a command that it matches strictly reaches, where the sandbox gives less.
        human: only a person may allow what this rule asks about, in every mode.
        expires_at: RFC 3339 in UTC with milliseconds; None: never.
        match, not_match: examples, which are tested when the rule is loaded.
        source: where it comes from: "user", "config", "project", "untrusted", or "request:ID".
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
    exact: bool = False
    network: Reach | None = None


class DeniedGlob(msgspec.Struct, frozen=True, gc=False):
    """What a rule that denies paths keeps from commands.

    Attributes:
        glob: absolute, in small letters; it means what it names and everything below that.
        name: the glob of a name that is denied at any depth below a root of the chat; None: the place counts.
        is_readable: the rule is only about tools that change files, so that commands may read it.
    """

    glob: str
    name: str | None = None
    is_readable: bool = False


class ChatFacts(msgspec.Struct, frozen=True, gc=False):
    """What the policy has to know of a chat. `roots` are absolute paths. `now` is RFC 3339.

    `sandbox` is what commands of this chat would run in; `is_weak`: it does not hold, such as for root.
    `above` are the ids of the chats that a child chat works for, its parent first (see `inheritance`); the
    roots, which rules refer to, are then those of its parent.
    """

    chat_id: str
    mode: AgentMode
    roots: tuple[str, ...]
    interactive: bool
    sandbox: SandboxKind
    is_weak: bool
    now: str
    above: tuple[str, ...] = ()

    @property
    def is_sandboxed(self) -> bool:
        """Whether commands run in a sandbox that holds."""
        return self.sandbox != "none" and not self.is_weak


class CommandDecision(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The decision on one simple command of a shell command. `rule_id`: a rule that decided, None: the mode.

    A command that runs another one (`timeout 9 make`) is followed by that one.
    """

    argv: tuple[str, ...]
    decision: Effect
    rule_id: str | None


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the policy says of a call.

    Attributes:
        decision: what to do.
        rules: the ids of the rules that decided; empty: the mode did.
        why: one sentence for people and for the result of a denied call.
        commands: the simple commands of a shell command; empty if it cannot be read.
        rememberable: rules that may be offered for "always", as they would be stored; their ids are empty.
        human: whether only a person may allow it.
        network: what the command reaches by rules, where the sandbox gives less; None: what that gives.
    """

    decision: Effect
    rules: tuple[str, ...]
    why: str
    commands: tuple[CommandDecision, ...] = ()
    rememberable: tuple[Rule, ...] = ()
    human: bool = False
    network: Reach | None = None
