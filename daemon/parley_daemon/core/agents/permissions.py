"""The policy: which calls run, which are asked about, and which are refused.

Theory of operation. `decide` is a pure function of the rules, the chat and the inspection of a call. A call
does one or more things: each path that it reads or changes, each simple command that it runs, the host that
it fetches from, or, if none of these is known, the call as a whole. Each thing is decided on its own, and the
strictest of these decisions is that of the call.

All rules that match a thing count, and the strictest of them wins: deny over ask over allow. Their order has
no effect. If no rule matches, the mode of the chat decides (MODE_TABLE and `_mode_decision`). A rule that
allows only answers what the mode would ask: what the mode denies stays denied.

A command that could use what a rule denies, since its sandbox cannot hide files, is not run unasked either.

What cannot be read is never allowed by a rule. A shell command that the reader does not understand can hide
any other, so it is asked about as soon as a rule denies or asks about some command, also in the mode `auto`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from parley_daemon.core.agents.policy.commands import parse_command
from parley_daemon.core.agents.policy.effort import MAX_EFFORT, Effort, TooMuchToCompareError
from parley_daemon.core.agents.policy.matching import (
    MAX_PATHS,
    Selected,
    Thing,
    command_thing,
    levels,
    matches,
    path_thing,
    select,
)
from parley_daemon.core.agents.policy.modes import (
    ModeDecision,
    decide_command,
    decide_path,
    decide_tool,
)
from parley_daemon.core.agents.policy.offers import offer_rules
from parley_daemon.core.agents.policy.reach import find_reach
from parley_daemon.core.agents.policy.shell import read_script
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import ChatFacts, CommandDecision, Effect, Reach, Rule, Verdict
from parley_daemon.core.agents.tools import Inspection, ToolKind, ToolSpec

_REACHES: Final[dict[Reach, str]] = {
    "all": "By a rule it gets network.",
    "loopback": "By a rule it gets a loopback of its own.",
}
_TOO_MUCH: Final = (
    "It has too many words and paths to be compared with all permission rules. Make several smaller calls."
)
_STRICTNESS: Final[dict[Effect, int]] = {"allow": 0, "ask": 1, "deny": 2}


class _Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision on one thing: the rules that made it, none if the mode did, and a sentence."""

    thing: Thing
    effect: Effect
    rules: tuple[Rule, ...]
    why: str
    is_exposed: bool = False

    @property
    def can_be_allowed(self) -> bool:
        """Whether a rule could allow what is asked about: only the mode asks, and it is clear what about."""
        return not self.rules and not self.is_exposed and self.thing.unread is None


def decide(
    rules: tuple[Rule, ...],
    chat: ChatFacts,
    spec_name: str,
    kind: ToolKind,
    call: Inspection,
    *,
    steps: int = MAX_EFFORT,
) -> Verdict:
    """Return what to do with a call. `kind` is the kind of the call (see Inspection.kind).

    A call that takes more than so many steps of comparisons with the rules is refused (see Effort).
    """
    if chat.mode == "off":
        return Verdict("deny", (), "Tools are off in this chat.")
    selected = select(rules, chat, spec_name)
    try:
        effort = Effort(steps)
        decisions = [
            _decide_thing(selected, chat, thing, mode, effort)
            for thing, mode in _things_of(chat, spec_name, kind, call)
        ]
    except TooMuchToCompareError:
        return Verdict("deny", (), _TOO_MUCH)
    if call.exposed:
        decisions = [_expose(one, call.exposed) for one in decisions]
    verdict = _combine(decisions)
    if not chat.interactive:
        verdict = _refuse_questions(verdict)
    if verdict.decision == "deny":
        return verdict
    reach = find_reach(selected, chat, [one.thing for one in decisions])
    if reach is not None:
        verdict = msgspec.structs.replace(verdict, network=reach, why=f"{verdict.why} {_REACHES[reach]}")
    if verdict.decision != "ask":
        return verdict
    asked = [one for one in decisions if one.effect == "ask"]
    if not all(one.can_be_allowed for one in asked):
        return verdict
    try:
        effort = Effort(steps)
        offers = [
            offer
            for offer in offer_rules(chat, spec_name, kind, call)
            if all(matches(offer, chat, one.thing, effort, strictly=True) for one in asked)
        ]
    except TooMuchToCompareError:
        return verdict
    return msgspec.structs.replace(verdict, rememberable=tuple(offers))


def decide_unseen(rules: tuple[Rule, ...], chat: ChatFacts, spec: ToolSpec) -> Effect:
    """Return what to do with calls of a tool of which nothing is known: "deny" if all of them are refused.

    Only rules about the tool as a whole count.
    """
    if chat.mode == "off":
        return "deny"
    whole = [one for one in rules if one.command is None and one.paths is None and one.hosts is None]
    if spec.kind == "execute" and spec.source == "builtin":
        mode = decide_command(chat)
    else:
        mode = decide_tool(spec.kind, chat, spec.name, Inspection(spec.title))
    decision = _decide_thing(select(tuple(whole), chat, spec.name), chat, Thing(), mode, Effort()).effect
    return "deny" if decision == "ask" and not chat.interactive else decision


def _expose(decision: _Decision, path: str) -> _Decision:
    """Return the decision on a command that could use what a rule denies: it is not run unasked."""
    if decision.thing.path is not None or decision.effect == "deny":
        return decision
    why = f"Rules deny {path}, and the sandbox cannot keep the command from it."
    if decision.effect == "allow":
        return _Decision(decision.thing, "ask", (), why, is_exposed=True)
    return _Decision(decision.thing, "ask", decision.rules, f"{decision.why} {why}", is_exposed=True)


def _refuse_questions(verdict: Verdict) -> Verdict:
    """Return the verdict in a chat where nobody is asked: what would be asked about is denied."""
    commands = tuple(
        msgspec.structs.replace(one, decision="deny") if one.decision == "ask" else one
        for one in verdict.commands
    )
    if verdict.decision != "ask":
        return msgspec.structs.replace(verdict, commands=commands)
    why = f"{verdict.why} Nobody is there to be asked: the chat is not interactive."
    return msgspec.structs.replace(verdict, decision="deny", why=why, commands=commands)


def _combine(decisions: Sequence[_Decision]) -> Verdict:
    strictest = max(decisions, key=lambda one: _STRICTNESS[one.effect])
    decisive = [one for one in decisions if one.effect == strictest.effect]
    commands = [
        CommandDecision(level.words, one.effect, one.rules[0].id if one.rules else None)
        for one in decisions
        for level in levels(one.thing.command)
    ]
    return Verdict(
        strictest.effect,
        tuple(dict.fromkeys([rule.id for one in decisive for rule in one.rules])),
        strictest.why,
        tuple(commands),
        human=strictest.effect == "ask" and any(rule.human for one in decisive for rule in one.rules),
    )


def _things_of(
    chat: ChatFacts, name: str, kind: ToolKind, call: Inspection
) -> Sequence[tuple[Thing, ModeDecision]]:
    """Return what a call does, each thing with what the mode says of it. There is at least one."""
    things = [(path_thing(use, chat.roots), decide_path(use, chat.mode)) for use in call.paths]
    if call.command is not None:
        return [*things, *_commands_of(chat, call.command, call.cwd)]
    if call.host is not None:
        things.append((Thing(host=call.host), decide_tool("fetch", chat, name, call)))
    is_known = (
        (kind == "fetch" and call.host is not None)
        or (kind == "read" and call.paths)
        or (kind == "edit" and any(use.access == "edit" for use in call.paths))
    )
    return things if is_known else [*things, (Thing(), decide_tool(kind, chat, name, call))]


def _commands_of(chat: ChatFacts, text: str, cwd: str | None) -> list[tuple[Thing, ModeDecision]]:
    mode = decide_command(chat)
    script = read_script(text)
    if script.problem is not None:
        return [(Thing(unread=script.problem, cwd=cwd, hides=True), mode)]
    things: list[tuple[Thing, ModeDecision]] = []
    left = MAX_PATHS
    for words in script.commands:
        command = parse_command(words)
        thing = command_thing(command, cwd, chat.roots, left)
        left -= len(thing.places)
        things.append((thing, mode))
        if any(one.changes_folder for one in levels(command)):
            cwd = None
    return things


def _decide_thing(
    rules: Sequence[Selected], chat: ChatFacts, thing: Thing, mode: ModeDecision, effort: Effort
) -> _Decision:
    found: dict[Effect, list[Rule]] = {"deny": [], "ask": [], "allow": []}
    hidden: list[Rule] = []
    for rule, effect in rules:
        if matches(rule, chat, thing, effort, strictly=effect == "allow"):
            found[effect].append(rule)
        elif thing.hides and effect != "allow" and _is_about_commands(rule):
            hidden.append(rule)
    if found["deny"]:
        return _by_rules(thing, "deny", found["deny"])
    if mode.effect == "deny":
        return _Decision(thing, "deny", (), mode.why)
    if found["ask"] or hidden:
        # All of them count, in case one of them is for people only.
        asking = (*found["ask"], *hidden)
        if found["ask"]:
            return _Decision(thing, "ask", asking, f"By a rule: {rule_text(asking[0])}.")
        why = f"It may do what a rule is about, which cannot be seen: {rule_text(asking[0])}."
        return _Decision(thing, "ask", asking, why)
    if thing.unread is not None:
        reason = f" What it runs cannot be told: {thing.unread}." if mode.effect == "ask" else ""
        return _Decision(thing, mode.effect, (), mode.why + reason)
    if found["allow"] and mode.effect == "ask":
        return _by_rules(thing, "allow", found["allow"])
    return _Decision(thing, mode.effect, (), mode.why)


def _is_about_commands(rule: Rule) -> bool:
    return rule.command is not None or rule.paths is not None


def _by_rules(thing: Thing, effect: Effect, rules: list[Rule]) -> _Decision:
    return _Decision(thing, effect, tuple(rules), f"By a rule: {rule_text(rules[0])}.")
