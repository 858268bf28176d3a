"""A permission rule in one line, as people are shown it before it is stored, and wherever it is listed."""

from parley_daemon.core.agents.rules import Reach, Rule

_MAX_LENGTH = 20_000
_NETWORKS: dict[Reach, str] = {"all": " with network", "loopback": " with a loopback of its own"}


def rule_text(rule: Rule) -> str:
    """Return what a rule says, without its scope: `allow run: git status …`.

    The dots stand for any further arguments. Different rules have different texts, except for very long ones.
    """
    words = [f"{rule.effect} {rule.tool}"]
    if rule.command is not None:
        words.append(f": {rule.command}" if rule.exact else f": {rule.command} …")
    if rule.paths is not None:
        words.append(f" in {', '.join(rule.paths)}")
    if rule.hosts is not None:
        words.append(f" at {', '.join(rule.hosts)}")
    if rule.network is not None:
        words.append(_NETWORKS[rule.network])
    if rule.human:
        words.append(", by a person only")
    if rule.expires_at is not None:
        words.append(f" until {rule.expires_at}")
    text = "".join(words)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"
