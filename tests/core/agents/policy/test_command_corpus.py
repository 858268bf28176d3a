"""The corpus of commands under one set of rules, in every mode: nothing slips through, and nothing is refused
that the rules are about.
"""

from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.policy.shell import read_script
from parley_daemon.core.agents.rules import AgentMode, ChatFacts, Rule, SandboxKind, Verdict
from parley_daemon.core.agents.tools import Inspection
from tests.core.agents.policy.corpus import ALLOWED, HARMLESS, HOSTILE, RULES


def verdict(
    command: str,
    rules: tuple[Rule, ...] = RULES,
    mode: AgentMode = "ask",
    sandbox: SandboxKind = "none",
) -> Verdict:
    facts = ChatFacts("c1", mode, ("/r",), True, sandbox, False, "2026-01-01T00:00:00.000Z")
    return decide(rules, facts, "run", "execute", Inspection("Run", command=command, cwd="/r"))


def test_there_are_three_hundred_commands_half_of_them_hostile() -> None:
    assert len(set(HARMLESS)) == len(HARMLESS) >= 150
    assert len(set(HOSTILE)) == len(HOSTILE) >= 150


def test_what_the_rules_allow_runs() -> None:
    assert [one for one in HARMLESS if verdict(one).decision != "allow"] == []


def test_nothing_hostile_is_allowed_by_a_rule() -> None:
    for mode in ("ask", "edits", "auto", "plan"):
        assert [one for one in HOSTILE if verdict(one, mode=mode).decision == "allow"] == []


def test_a_command_is_allowed_only_if_each_of_its_simple_commands_is() -> None:
    for one in (*HARMLESS, *HOSTILE):
        found = verdict(one)
        script = read_script(one)
        if found.decision != "allow":
            continue
        assert script.problem is None
        listed = [command.argv for command in found.commands]
        assert [words for words in script.commands if words not in listed] == []
        for command in found.commands:
            assert command.decision == "allow"
            assert command.rule_id is not None
        for words in script.commands:
            # Found again without the code under test: what is allowed is a beginning of the command, or of
            # the command that it runs.
            assert any(
                words[start : start + len(prefix.split())] == tuple(prefix.split())
                for prefix in ALLOWED
                for start in range(len(words) if words[0] in WRAPPERS else 1)
            ), words


WRAPPERS = ("env", "timeout", "xargs", "nohup", "nice")


def test_a_rule_that_denies_makes_what_cannot_be_read_a_question_in_the_mode_auto() -> None:
    deny = Rule("no", "deny", "run", "rm")
    human = Rule("human", "ask", "run", "rm", human=True)
    for one in (one for one in HOSTILE if read_script(one).problem is not None):
        assert verdict(one, (), "auto", "bwrap").decision == "allow"
        assert verdict(one, (*RULES, deny), "auto", "bwrap").decision == "ask"
        asked = verdict(one, (*RULES, human), "auto", "bwrap")
        assert (asked.decision, asked.human, asked.rememberable) == ("ask", True, ())


def test_rm_is_denied_in_every_disguise_that_can_be_read() -> None:
    deny = Rule("no", "deny", "run", "rm")
    hidden = [
        one
        for one in HOSTILE
        if any("rm" in words for words in read_script(one).commands)
        or any("/bin/rm" in words for words in read_script(one).commands)
    ]
    assert len(hidden) > 25
    for one in hidden:
        found = verdict(one, (*RULES, deny), "auto", "bwrap")
        runs_rm = any(
            "rm" in (words[0].rpartition("/")[2], *(words[1:] if words[0] in LAUNCHERS else ()))
            for words in read_script(one).commands
        )
        assert found.decision == "deny" or not runs_rm, one


LAUNCHERS = (*WRAPPERS, "command", "sudo", "busybox")


NEVER = {
    "bash",
    "sh",
    "zsh",
    "dash",
    "sudo",
    "doas",
    "su",
    "env",
    "python",
    "python3.11",
    "node",
    "perl",
    "ssh",
}


def test_nothing_that_can_run_anything_is_offered_for_always() -> None:
    offers = [offer for one in HOSTILE for offer in verdict(one, ()).rememberable]
    assert offers != []
    for offer in offers:
        words = (offer.command or "").split()
        assert words != ["git"]
        assert not NEVER & {words[0]}
        assert "/" not in words[0]
        assert offer.exact or words[0] not in ("find", "rm", "xargs", "tar", "sort")
