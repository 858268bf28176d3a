"""Rules as text for people."""

from parley_daemon.core.agents.rules import Rule

_VERBS = {"allow": "allow", "ask": "ask before", "deny": "deny"}


def describe_rule(rule: Rule) -> str:
    """Return what a rule says, without where and how long it counts: such as `allow run: git status …`.

    Equal texts mean equal rules, as far as they say what is matched.
    """
    verb = "let only a person allow" if rule.human and rule.effect != "deny" else _VERBS[rule.effect]
    parts = [f"{verb} {rule.tool}"]
    if rule.command is not None:
        parts.append(f"`{rule.command}`" if rule.exact else f"`{rule.command} …`")
    if rule.paths is not None:
        parts.append(f"on {_list(rule.paths)}")
    if rule.hosts is not None:
        parts.append(f"from {_list(rule.hosts)}")
    return " ".join(parts)


def _list(patterns: tuple[str, ...]) -> str:
    return " or ".join(patterns) if patterns else "nothing"
