"""Whether a rule makes sense: its fields, and the examples that say what it shall and shall not match."""

import msgspec

from parley_daemon.core.agents.globs import find_problem, matches_name
from parley_daemon.core.agents.policy.commands import parse_command
from parley_daemon.core.agents.policy.effort import Effort, TooMuchToCompareError
from parley_daemon.core.agents.policy.matching import Thing, command_thing, effect_of, matches, path_thing
from parley_daemon.core.agents.policy.shell import read_script
from parley_daemon.core.agents.rules import ChatFacts, Rule, RuleScope
from parley_daemon.core.agents.tools import PathUse

_ROOT = "/"


class RuleProblem(msgspec.Struct, frozen=True, gc=False):
    """What is wrong with a field of a rule. `index` is the place in a list. `text` continues its name."""

    field: str
    text: str
    index: int | None = None


def check_rule(rule: Rule) -> RuleProblem | None:
    """Return the first problem of a rule, None if there is none."""
    return _check_fields(rule) or _check_examples(rule)


def _check_fields(rule: Rule) -> RuleProblem | None:
    if not rule.tool.strip() or any(not sign.isprintable() or sign == " " for sign in rule.tool):
        return RuleProblem("tool", 'must be the name of a tool, or a glob of names such as "*"')
    if rule.human and rule.effect != "ask":
        return RuleProblem("human", 'needs the effect "ask": it says who may answer')
    if rule.exact and rule.command is None:
        return RuleProblem("exact", "needs a command")
    if rule.command is not None:
        script = read_script(rule.command)
        if script.problem is not None:
            return RuleProblem(
                "command", f"must be the beginning of one simple command, but {script.problem}"
            )
        if len(script.commands) != 1:
            return RuleProblem("command", "must be the beginning of one simple command, but it has several")
        if rule.paths is not None and rule.effect == "allow":
            return RuleProblem("paths", "cannot limit a command: it is not known what it reads")
    if rule.network is not None:
        if rule.command is None or rule.tool != "run":
            return RuleProblem(
                "network", 'needs the tool "run" and a command: it is what that command reaches'
            )
        if rule.effect == "deny":
            return RuleProblem("network", 'needs the effect "allow" or "ask": what is denied does not run')
        if rule.paths is not None:
            return RuleProblem(
                "network", "cannot be combined with paths: it is not known what a command uses"
            )
    for name, patterns in (("paths", rule.paths), ("hosts", rule.hosts)):
        if patterns is not None and not patterns:
            return RuleProblem(name, "must have a pattern, or be left out")
    for index, pattern in enumerate(rule.paths or ()):
        if (problem := find_problem(pattern)) is not None:
            return RuleProblem("paths", problem, index)
    for index, host in enumerate(rule.hosts or ()):
        if not host.strip() or "/" in host or "@" in host or any(sign.isspace() for sign in host):
            return RuleProblem("hosts", "must be a host such as docs.python.org, without a path", index)
    if rule.hosts is not None and (rule.command is not None or rule.paths is not None):
        return RuleProblem("hosts", "cannot be combined with a command or with paths: no call has both")
    return None


def _check_examples(rule: Rule) -> RuleProblem | None:
    for field, examples, is_wanted in (("match", rule.match, True), ("not_match", rule.not_match, False)):
        for index, example in enumerate(examples):
            problem = _problem_of(rule, example, is_wanted=is_wanted)
            if problem is not None:
                return RuleProblem(field, f"{problem}: {example[:200]!r}", index)
    return None


def _problem_of(rule: Rule, example: str, *, is_wanted: bool) -> str | None:
    strictly = effect_of(rule) == "allow"
    facts = ChatFacts("", "ask", (_ROOT,), True, "none", False, "")
    bare = msgspec.structs.replace(rule, scope=RuleScope())  # where it counts is not what is tested
    things: list[Thing] = []
    if rule.command is not None:
        script = read_script(example)
        if script.problem is not None:
            return f"cannot be an example, because {script.problem}"
        things = [command_thing(parse_command(words), _ROOT, facts.roots) for words in script.commands]
    elif rule.paths is not None:
        path = example if example.startswith("/") else f"/{example}"
        things = [path_thing(PathUse(path, "edit", "root", _ROOT), facts.roots)]
    elif rule.hosts is not None:
        things = [Thing(host=example)]
    else:
        return _verdict(is_wanted=is_wanted, does_match=matches_name(rule.tool, example))
    try:
        found = [matches(bare, facts, thing, Effort(), strictly=strictly) for thing in things]
    except TooMuchToCompareError:
        return "is too long to be compared with the rule"
    # What is allowed has to be allowed as a whole; asking or denying one part is enough.
    does_match = all(found) if strictly else any(found)
    return _verdict(is_wanted=is_wanted, does_match=does_match)


def _verdict(*, is_wanted: bool, does_match: bool) -> str | None:
    if does_match == is_wanted:
        return None
    return "is not matched by the rule" if is_wanted else "is matched by the rule"
