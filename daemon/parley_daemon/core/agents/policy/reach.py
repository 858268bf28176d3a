"""What a command line reaches by rules: network that the sandbox would not give it.

Theory of operation. A rule with `network` lets the commands that it allows, or asks about, reach more than
the setting of the sandbox. A command line runs in one sandbox, so it gets what all of its simple commands may
have: each has to match such a rule, of which every condition holds strictly, as a rule that allows has to
match. A command that cannot be read gets nothing, and a project that is not trusted gives nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from parley_daemon.core.agents.policy.commands import parse_command, remembered_prefix
from parley_daemon.core.agents.policy.effort import Effort, TooMuchToCompareError
from parley_daemon.core.agents.policy.matching import Selected, Thing, levels, matches
from parley_daemon.core.agents.policy.shell import quote_words, read_script
from parley_daemon.core.agents.rules import UNTRUSTED, ChatFacts, Reach, Rule

_WIDTH: Final[dict[Reach, int]] = {"loopback": 1, "all": 2}


def find_reach(rules: Iterable[Selected], chat: ChatFacts, things: Sequence[Thing]) -> Reach | None:
    """Return what a call that does these things reaches by rules; None: what the sandbox gives."""
    try:
        return _find_reach(rules, chat, things, Effort())
    except TooMuchToCompareError:
        return None


def _find_reach(
    rules: Iterable[Selected], chat: ChatFacts, things: Sequence[Thing], effort: Effort
) -> Reach | None:
    opening = [rule for rule, _ in rules if rule.network is not None and rule.source != UNTRUSTED]
    if not opening or any(thing.command is None for thing in things):
        return None
    found: list[Reach] = []
    for thing in things:
        reaches: list[Reach] = [
            rule.network
            for rule in opening
            if rule.network is not None and matches(rule, chat, thing, effort, strictly=True)
        ]
        if not reaches:
            return None
        found.append(max(reaches, key=_WIDTH.__getitem__))
    reach = min(found, key=_WIDTH.__getitem__)
    # Landlock cannot tell loopback from outside, so there it gives neither.
    return None if reach == "loopback" and chat.sandbox == "landlock" else reach


def opening_rules(command: str) -> list[Rule]:
    """Return rules that together give a command line all network; none if it cannot be read."""
    rules: dict[str, Rule] = {}
    for words in read_script(command).commands:
        *_, innermost = levels(parse_command(words))
        prefix = remembered_prefix(innermost.words)
        text = quote_words(prefix or innermost.words)
        rules[text] = Rule("", "allow", "run", command=text, exact=prefix is None, network="all")
    return list(rules.values())
