"""The laws of the policy, with random rules and random calls."""

from dataclasses import dataclass
from dataclasses import replace as with_changes
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.core.agents.inheritance import lowest_mode
from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.policy.effort import MAX_EFFORT
from parley_daemon.core.agents.rules import UNTRUSTED, AgentMode, ChatFacts, Rule, RuleScope, Verdict
from parley_daemon.core.agents.tools import Inspection, PathUse, ToolKind
from tests.support.examples import THOROUGH

STRICTNESS = {"allow": 0, "ask": 1, "deny": 2}
LAWS = settings(max_examples=2_500 if settings.get_current_profile_name() == THOROUGH else 40)
"""Four laws, each with this many sets of rules."""

TOOLS = {"run": "execute", "edit_file": "edit", "read_file": "read", "fetch_url": "fetch", "todo": "ask"}
PLACES: list[tuple[str, Literal["root", "elsewhere", "protected"], str | None]] = [
    ("/r/a.py", "root", "/r"),
    ("/r/sub/.env", "root", "/r"),
    ("/q/b.md", "root", "/q"),
    ("/home/u/.ssh/id", "elsewhere", None),
    ("/r/.git/config", "protected", "/r"),
    ("/data/keys", "protected", None),
]
USES = [
    *[PathUse(path, "read", place, root) for path, place, root in PLACES],
    *[PathUse(path, "edit", place, root) for path, place, root in PLACES],
]
COMMANDS = [
    *("git status", "git push", "timeout 5 git push", "git status && git push", "rm -rf x"),
    *("sh -c 'git push'", "echo $(git push)", "cat .env", "cat sub/.env | git status", "make"),
    *("/usr/bin/git push", "git -C x push"),
]


@dataclass(frozen=True)
class Case:
    """A chat and a call."""

    chat: ChatFacts
    tool: str
    kind: ToolKind
    call: Inspection

    def decide(self, rules: list[Rule], steps: int = MAX_EFFORT) -> Verdict:
        return decide(tuple(rules), self.chat, self.tool, self.kind, self.call, steps=steps)


times = st.sampled_from([None, None, "2025-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"])
scopes = st.sampled_from(
    [
        RuleScope(),
        RuleScope(),
        RuleScope("c1"),
        RuleScope("c2"),
        RuleScope(root="file:///r"),
        RuleScope(root="file:///x"),
    ]
)
rules = st.builds(
    Rule,
    id=st.uuids().map(str),
    effect=st.sampled_from(["allow", "ask", "deny"]),
    tool=st.sampled_from(["*", "run", "edit_*", "read_file", "fetch_url", "?un"]),
    command=st.sampled_from(
        [None, None, "git", "git push", "git status", "rm", "timeout", "sh -c 'git push'"]
    ),
    paths=st.sampled_from([None, None, (".env",), ("**",), ("/home",), ("sub/*", "*.MD"), ("/",)]),
    hosts=st.sampled_from([None, None, None, ("*",), ("*.org",), ("docs.org:8000",)]),
    human=st.sampled_from([False, False, False, True]),
    scope=scopes,
    expires_at=times,
    exact=st.booleans(),
    source=st.sampled_from(["user", "config", "project", "request:1"]),
)
rule_sets = st.lists(rules, max_size=8)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    tool = draw(st.sampled_from(sorted(TOOLS)))
    facts = ChatFacts(
        "c1",
        draw(st.sampled_from(["plan", "ask", "edits", "auto"])),
        ("/r", "/q"),
        draw(st.sampled_from([True, True, False])),
        draw(st.sampled_from(["none", "bwrap"])),
        draw(st.booleans()),
        "2026-01-01T00:00:00.000Z",
    )
    call = Inspection("A call")
    if tool == "run":
        call = replace(call, command=draw(st.sampled_from(COMMANDS)), cwd=draw(st.sampled_from(["/r", "/q"])))
    elif tool in ("edit_file", "read_file"):
        uses = draw(st.lists(st.sampled_from(USES), max_size=3))
        call = replace(call, paths=tuple(uses))
    elif tool == "fetch_url":
        call = replace(call, host=draw(st.sampled_from(["docs.org", "docs.org:8000", "evil.com"])))
    return Case(facts, tool, TOOLS[tool], call)  # pyright: ignore[reportArgumentType]


@LAWS
@given(cases(), rule_sets, rules)
def test_one_more_rule_that_denies_or_asks_never_widens(case: Case, given: list[Rule], more: Rule) -> None:
    before = case.decide(given)
    for effect in ("deny", "ask"):
        after = case.decide([*given, replace(more, effect=effect)])
        assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]
        assert set(after.rememberable) <= set(before.rememberable) or before.decision != "ask"
        for one, other in zip(before.commands, after.commands, strict=True):
            assert STRICTNESS[other.decision] >= STRICTNESS[one.decision]


@LAWS
@given(cases(), rule_sets, st.sampled_from(["off", "plan", "ask", "edits", "auto"]), st.booleans())
def test_a_child_may_do_no_more_than_its_parent(
    case: Case, given: list[Rule], mode: AgentMode, interactive: bool
) -> None:
    parent = case.chat
    child = replace(
        parent,
        chat_id="c2",
        above=("c1",),
        mode=lowest_mode([mode, parent.mode]),
        interactive=interactive and parent.interactive,
    )
    own, above = with_changes(case, chat=child).decide(given), case.decide(given)
    assert STRICTNESS[own.decision] >= STRICTNESS[above.decision]
    assert above.human <= (own.human or own.decision == "deny")
    assert all(one.scope.chat_id in (None, "c1") for one in own.rememberable)
    assert own.network in (None, above.network)


@LAWS
@given(cases(), rule_sets, st.randoms(use_true_random=False))
def test_the_order_of_rules_changes_nothing(case: Case, given: list[Rule], random: "object") -> None:
    shuffled = list(given)
    random.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    before, after = case.decide(given), case.decide(shuffled)
    assert (before.decision, before.human, before.rememberable) == (
        after.decision,
        after.human,
        after.rememberable,
    )
    assert set(before.rules) == set(after.rules)
    assert [one.decision for one in before.commands] == [one.decision for one in after.commands]


@LAWS
@given(cases(), rule_sets, rules, st.integers(0, 300), st.randoms(use_true_random=False))
def test_the_bound_of_comparisons_keeps_both_laws(
    case: Case, given: list[Rule], more: Rule, steps: int, random: "object"
) -> None:
    before, without = case.decide(given, steps), case.decide(given)
    assert before.decision in ("deny", without.decision)
    shuffled = list(given)
    random.shuffle(shuffled)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert case.decide(shuffled, steps).decision == before.decision
    for effect in ("deny", "ask"):
        after = case.decide([*given, replace(more, effect=effect)], steps)
        assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]


@LAWS
@given(cases(), rule_sets, rule_sets)
def test_rules_that_nobody_trusts_never_widen(case: Case, given: list[Rule], project: list[Rule]) -> None:
    untrusted = [replace(one, source=UNTRUSTED) for one in project]
    before, after = case.decide(given), case.decide([*given, *untrusted])
    assert STRICTNESS[after.decision] >= STRICTNESS[before.decision]


@LAWS
@given(cases(), rule_sets)
def test_what_only_a_person_may_allow_never_passes(case: Case, given: list[Rule]) -> None:
    # A rule for people about exactly this tool: no mode and no other rule lets the call pass.
    human = Rule("human", "ask", case.tool, human=True)
    for mode in ("ask", "edits", "auto"):
        chat = replace(case.chat, mode=mode)
        verdict = Case(chat, case.tool, case.kind, case.call).decide([*given, human])
        assert verdict.decision != "allow"
        assert verdict.rememberable == ()
        assert verdict.human or verdict.decision == "deny"


@LAWS
@given(cases(), rule_sets)
def test_what_the_mode_denies_is_allowed_by_nothing(case: Case, given: list[Rule]) -> None:
    verdict = case.decide(given)
    if any(use.access == "edit" and use.place != "root" for use in case.call.paths):
        assert verdict.decision == "deny"
    if case.chat.mode == "plan" and any(use.access == "edit" for use in case.call.paths):
        assert verdict.decision == "deny"
    if not case.chat.interactive:
        assert verdict.decision != "ask"
    if case.tool == "run" and "$(" in (case.call.command or "") and verdict.decision == "allow":
        assert (case.chat.mode, case.chat.is_sandboxed) == ("auto", True)


@LAWS
@given(cases(), rule_sets)
def test_a_rule_that_is_offered_is_enough(case: Case, given: list[Rule]) -> None:
    for offer in case.decide(given).rememberable:
        assert case.decide([*given, replace(offer, id="new")]).decision == "allow"
        other = replace(case.chat, chat_id="c9", roots=("/elsewhere",))
        elsewhere = Case(other, case.tool, case.kind, replace(case.call, cwd="/elsewhere"))
        if offer.scope != RuleScope():
            assert elsewhere.decide([replace(offer, id="new")]) == elsewhere.decide([])
