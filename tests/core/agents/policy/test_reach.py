"""What commands reach by rules: only where every simple command strictly matches one with network."""

from typing import Any

import pytest
from msgspec.structs import replace

from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.policy.reach import opening_rules
from parley_daemon.core.agents.policy.rule_checks import check_rule
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import UNTRUSTED, ChatFacts, Rule, RuleScope, SandboxKind, Verdict
from parley_daemon.core.agents.tools import Inspection

CHAT = ChatFacts("c1", "ask", ("/r",), True, "bwrap", False, "2026-01-01T00:00:00.000Z")
NPM = Rule("1", "allow", "run", command="npm ci", network="all")
GIT = Rule("2", "ask", "run", command="git fetch", network="all")
LOCAL = Rule("3", "allow", "run", command="curl", network="loopback")
LIST = Rule("4", "allow", "run", command="ls")


def decided(command: str, *rules: Rule, chat: ChatFacts = CHAT, cwd: str = "/r") -> Verdict:
    return decide(rules, chat, "run", "execute", Inspection("Run", command=command, cwd=cwd))


def test_every_command_of_the_line_needs_a_rule_with_network() -> None:
    rules = NPM, GIT, LOCAL, LIST
    found = {
        text: (verdict.decision, verdict.network)
        for text in (
            "npm ci",
            "npm ci --ignore-scripts",
            "timeout 9 npm ci",
            "git fetch",
            "npm ci && git fetch",
            "npm ci | curl localhost",
            "ls",
            "npm ci && ls",
            "npm ci; rm -rf x",
            "npm ci $X",
            "npm ci > log",
            "npm install",
            "/usr/bin/git fetch",
            "git -C x fetch",
            "git fetch --upload-pack=x",
        )
        if (verdict := decided(text, *rules))
    }
    assert found == {
        "npm ci": ("allow", "all"),
        "npm ci --ignore-scripts": ("allow", "all"),
        "timeout 9 npm ci": ("allow", "all"),
        "git fetch": ("ask", "all"),
        "npm ci && git fetch": ("ask", "all"),
        "npm ci | curl localhost": ("allow", "loopback"),
        "ls": ("allow", None),
        "npm ci && ls": ("allow", None),
        "npm ci; rm -rf x": ("ask", None),
        "npm ci $X": ("ask", None),
        "npm ci > log": ("ask", None),
        "npm install": ("ask", None),
        # These are asked about by the rule, but it does not certainly mean them.
        "/usr/bin/git fetch": ("ask", None),
        "git -C x fetch": ("ask", None),
        "git fetch --upload-pack=x": ("ask", None),
    }


def test_the_sentence_says_that_it_gets_network() -> None:
    assert (
        decided("npm ci", NPM).why
        == "By a rule: allow run: npm ci … with network. By a rule it gets network."
    )
    local = decided("curl x", LOCAL)
    assert local.why.endswith(" with a loopback of its own. By a rule it gets a loopback of its own.")
    in_auto = decided("npm ci", NPM, chat=replace(CHAT, mode="auto"))
    assert (in_auto.decision, in_auto.network) == ("allow", "all")
    assert in_auto.why.endswith("By a rule it gets network.")


@pytest.mark.parametrize(
    "changes",
    [
        {"source": UNTRUSTED},
        {"expires_at": "2025-12-31T00:00:00.000Z"},
        {"scope": RuleScope(chat_id="c2")},
        {"scope": RuleScope(root="file:///r/sub")},
        {"network": None},
    ],
)
@pytest.mark.parametrize("effect", ["allow", "ask"])
def test_a_rule_that_does_not_count_here_opens_nothing(effect: str, changes: dict[str, Any]) -> None:
    rule = replace(NPM, effect=effect)
    assert decided("npm ci", rule).network == "all"
    assert decided("npm ci", replace(rule, **changes), LIST).network is None
    # A narrower rule beside it takes nothing away.
    assert decided("npm ci", rule, replace(rule, id="9", network="loopback")).network == "all"


def test_what_does_not_run_gets_nothing() -> None:
    denied = decided("npm ci", NPM, Rule("5", "deny", "run", command="npm"))
    assert (denied.decision, denied.network) == ("deny", None)
    alone = decided("git fetch", GIT, chat=replace(CHAT, interactive=False))
    assert (alone.decision, alone.network, "gets network" in alone.why) == ("deny", None, False)


def test_landlock_cannot_give_a_loopback_alone() -> None:
    kinds: tuple[SandboxKind, ...] = ("bwrap", "seatbelt", "landlock")
    found = [decided("curl x", LOCAL, chat=replace(CHAT, sandbox=kind)).network for kind in kinds]
    assert found == ["loopback", "loopback", None]
    assert decided("npm ci", NPM, chat=replace(CHAT, sandbox="landlock")).network == "all"


def test_network_is_only_for_commands_of_run_that_may_run() -> None:
    assert [check_rule(rule) for rule in (NPM, GIT, LOCAL)] == [None] * 3
    wrong = (
        (replace(NPM, command=None), "needs the tool"),
        (replace(NPM, tool="*"), "needs the tool"),
        (replace(NPM, effect="deny"), "needs the effect"),
        (replace(GIT, paths=("*.md",)), "cannot be combined with paths"),
    )
    for rule, words in wrong:
        problem = check_rule(rule)
        assert problem is not None
        assert (problem.field, words in problem.text) == ("network", True)


def test_the_rules_that_are_named_open_the_line() -> None:
    for line, texts in (
        (
            "timeout 9 npm test && git fetch",
            ["allow run: npm test … with network", "allow run: git fetch with network"],
        ),
        ("python3 'a b.py'", ["allow run: python3 'a b.py' with network"]),
        ("make $X", []),
    ):
        rules = opening_rules(line)
        assert [rule_text(rule) for rule in rules] == texts
        assert [check_rule(rule) for rule in rules] == [None] * len(rules)
        assert decided(line, *rules).network == ("all" if texts else None)
