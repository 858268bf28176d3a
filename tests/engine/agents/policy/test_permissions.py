"""Rules of chats: where they come from, where they count, and when they end."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from msgspec.structs import replace

from parley_daemon.adapters.os import project_files
from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import ChatFacts, Rule, RuleScope, Verdict
from parley_daemon.core.agents.tools import Inspection, PathUse
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.policy.instructions import MAX_BYTES, Instructions
from parley_daemon.engine.agents.policy.permissions import Permissions
from parley_daemon.engine.agents.policy.policy_state import PolicyState
from parley_daemon.engine.errors import (
    ConflictError,
    InvalidRuleError,
    NotTrustedError,
    ReadOnlyConfigurationError,
    UnknownRuleError,
)
from parley_daemon.ports.projects import ParsedRules
from parley_daemon.ports.store_writes import DeleteChat, PutChat
from parley_daemon.ports.tools import Workspace
from tests.support.engine.policy import policy_sources
from tests.support.engine.records import a_chat
from tests.support.engine.rig import Disk, FakeClock

GIT_LOG = Inspection("Run git log", command="git log -3", cwd="/")


class Rules:
    """The rules over a store on disk, with a chat that has a root."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        (self.root / ".parley").mkdir(parents=True)
        self.disk = Disk(folder / "data")
        (folder / "data").mkdir()
        self.sources = policy_sources(str(folder / "config"))
        (folder / "config").mkdir()
        self.config = folder / "config"
        self.clock = FakeClock()
        self.ahead = 0.0
        self.workspace = Workspace((str(self.root.resolve()),))
        self.uri = self.root.resolve().as_uri()
        self.chat = a_chat(owner="me")
        self.other = replace(self.chat, id="c2")
        self.hers = replace(self.chat, id="c3", owner="she")
        self.store = self.disk.store()
        self.permissions = self._open()

    def _open(self, configured: ParsedRules | None = None) -> Permissions:
        state = PolicyState(self.store, self._nothing, self.clock)
        return Permissions(state, self.sources, configured or ParsedRules())

    async def _nothing(self) -> None:
        pass

    async def begin(self) -> None:
        await self.store.open()
        await self.store.commit(PutChat(self.chat), PutChat(self.other), PutChat(self.hers))

    async def restart(self) -> None:
        await self.store.aclose()
        self.store = self.disk.store()
        await self.store.open()
        self.permissions = self._open()

    async def decide(
        self,
        call: Inspection,
        chat: Chat | None = None,
        workspace: Workspace | None = None,
        tool: str = "run",
    ) -> Verdict:
        workspace, chat = workspace or self.workspace, chat or self.chat
        rules = await self.permissions.rules(chat, workspace)
        facts = ChatFacts(chat.id, "ask", workspace.roots, True, "none", False, self.clock.now(self.ahead))
        return decide(rules, facts, tool, "execute" if tool == "run" else "edit", call)

    @property
    def command(self) -> Inspection:
        return replace(GIT_LOG, cwd=self.workspace.roots[0])

    def edit(self, name: str) -> Inspection:
        root = self.workspace.roots[0]
        return Inspection("Edit", paths=(PathUse(f"{root}/{name}", "edit", "root", root),))


@pytest.fixture
async def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Rules]:
    monkeypatch.setattr(project_files, "FRESH_SECONDS", 0.0)
    one = Rules(tmp_path)
    await one.begin()
    yield one
    await one.store.aclose()


async def test_an_answer_stores_the_rule_that_was_shown_and_it_matches_only_there(rules: Rules) -> None:
    asked = await rules.decide(rules.command)
    assert asked.decision == "ask"
    in_chat, in_root = asked.rememberable
    assert rule_text(in_chat) == rule_text(in_root) == "allow run: git log …"
    assert (in_chat.scope, in_root.scope) == (RuleScope("c1"), RuleScope(root=rules.uri))

    stored = await rules.permissions.remember(rules.chat, in_chat, "r1")
    assert rule_text(stored) == rule_text(in_chat)
    assert stored.source == "request:r1"
    for _ in range(2):
        found = await rules.decide(rules.command)
        assert (found.decision, found.rules) == ("allow", (stored.id,))
        assert (await rules.decide(rules.command, rules.other)).decision == "ask"
        assert (await rules.decide(rules.command, rules.hers)).decision == "ask"
        assert (await rules.permissions.list("me", rules.chat, rules.workspace)).rules == (stored,)
        assert (await rules.permissions.list("me", rules.other, rules.workspace)).rules == ()
        assert (await rules.permissions.list("she", None, rules.workspace)).rules == ()
        await rules.restart()
    await rules.permissions.remove("me", stored.id)
    assert (await rules.decide(rules.command)).decision == "ask"


async def test_a_rule_for_a_folder_counts_in_all_chats_of_its_owner_there(
    rules: Rules, tmp_path: Path
) -> None:
    (_, in_root) = (await rules.decide(rules.command)).rememberable
    await rules.permissions.remember(rules.chat, in_root, "r1")
    assert (await rules.decide(rules.command, rules.other)).decision == "allow"
    assert (await rules.decide(rules.command, rules.hers)).decision == "ask"
    elsewhere = Workspace((str(tmp_path),))
    outside = replace(rules.command, cwd=str(tmp_path))
    assert (await rules.decide(outside, workspace=elsewhere)).decision == "ask"
    below = replace(rules.command, cwd=f"{rules.workspace.roots[0]}/sub")
    assert (await rules.decide(below)).decision == "allow"
    moved = replace(rules.command, command="cd / && git log")
    assert (await rules.decide(moved)).decision == "ask"


async def test_a_rule_ends_at_its_time(rules: Rules) -> None:
    rule = Rule("", "allow", "run", "git log", expires_at="2026-01-02T00:30:00.000Z")
    await rules.permissions.add("me", rule)
    assert (await rules.decide(rules.command)).decision == "allow"
    rules.ahead = 3600
    assert (await rules.decide(rules.command)).decision == "ask"


async def test_a_rule_of_a_deleted_chat_is_not_listed(rules: Rules) -> None:
    await rules.permissions.add("me", Rule("", "deny", "run", scope=RuleScope("c1")))
    await rules.store.commit(DeleteChat("c1"))
    assert (await rules.permissions.list("me", None, rules.workspace)).rules == ()


async def test_a_rule_that_makes_no_sense_or_whose_example_fails_is_refused(rules: Rules) -> None:
    rule = Rule("", "allow", "run", "git log")
    for wrong, path in (
        (replace(rule, command="git log && ls"), "command"),
        (replace(rule, command="git $X"), "command"),
        (replace(rule, human=True), "human"),
        (replace(rule, command=None, exact=True), "exact"),
        (replace(rule, paths=("a",)), "paths"),
        (replace(rule, command=None, paths=("a", "../b")), "paths[1]"),
        (replace(rule, command=None, hosts=("https://x",)), "hosts[0]"),
        (replace(rule, match=("git log", "git push")), "match[1]"),
        (replace(rule, not_match=("git log",)), "notMatch[0]"),
        (replace(rule, tool=" "), "tool"),
        (replace(rule, scope=RuleScope(root="file:///gone/for/good")), "scope.root"),
    ):
        with pytest.raises(InvalidRuleError) as refused:
            await rules.permissions.add("me", wrong)
        assert refused.value.path == path
    assert (await rules.permissions.list("me", None, rules.workspace)).rules == ()


async def test_the_rules_of_a_project_only_tighten_until_its_file_is_trusted(rules: Rules) -> None:
    file = rules.root / ".parley" / "permissions.toml"
    file.write_text(
        '[[permissions]]\neffect = "allow"\ntool = "run"\ncommand = "git log"\n'
        '[[permissions]]\neffect = "deny"\npaths = ["*.pem"]\n'
    )
    (listed,) = (await rules.permissions.list("me", rules.chat, rules.workspace)).projects
    assert (listed.trusted, {one.source for one in listed.rules}) == (False, {"untrusted"})
    assert (await rules.decide(rules.command)).decision == "ask"
    assert (await rules.decide(rules.edit("a.pem"), tool="edit_file")).decision == "deny"

    await rules.permissions.set_trust("me", rules.uri, listed.hash, trusted=True)
    await rules.restart()
    assert (await rules.decide(rules.command)).decision == "allow"
    assert (await rules.decide(rules.command, rules.hers)).decision == "ask"
    assert (await rules.decide(rules.edit("a.pem"), tool="edit_file")).decision == "deny"

    content = file.read_text()
    file.write_text(content + "\n")
    assert (await rules.decide(rules.command)).decision == "ask"
    with pytest.raises(ConflictError):
        await rules.permissions.set_trust("me", rules.uri, listed.hash, trusted=True)
    file.write_text(content)
    assert (await rules.decide(rules.command)).decision == "allow"
    await rules.permissions.set_trust("me", rules.uri, listed.hash, trusted=False)
    assert (await rules.decide(rules.command)).decision == "ask"
    with pytest.raises(NotTrustedError):
        await rules.permissions.set_trust("me", rules.uri, listed.hash, trusted=False)


async def test_a_project_with_a_broken_file_is_asked_about(rules: Rules) -> None:
    file = rules.root / ".parley" / "permissions.toml"
    await rules.permissions.add("me", Rule("", "allow", "edit_file"))
    assert (await rules.decide(rules.edit("a"), tool="edit_file")).decision == "allow"
    file.write_text('[[permissions]]\neffect = "allow"\nnonsense = 1\n')
    assert (await rules.decide(rules.edit("a"), tool="edit_file")).decision == "ask"
    (listed,) = (await rules.permissions.list("me", rules.chat, rules.workspace)).projects
    assert (
        listed.complaint
        == f"{rules.root.resolve()}/.parley/permissions.toml, line 3: there is no setting nonsense here."
    )
    file.unlink()
    assert (await rules.decide(rules.edit("a"), tool="edit_file")).decision == "allow"


async def test_a_configuration_that_breaks_allows_nothing_and_still_denies(rules: Rules) -> None:
    allow = Rule("config:1", "allow", "run", "git log", source="config")
    deny = Rule("config:2", "deny", "*", paths=("*.pem",), source="config")
    everything = Rule("config:unreadable", "ask", "*", source="config")
    rules.permissions.configure(ParsedRules((allow, deny)))
    assert (await rules.decide(rules.command)).decision == "allow"
    for complaint in ("line 1", "line 2"):
        rules.permissions.configure(ParsedRules((everything,), complaint))
        assert (await rules.decide(rules.command)).decision == "ask"
        assert (await rules.decide(rules.edit("a.pem"), tool="edit_file")).decision == "deny"
        assert (await rules.permissions.list("me", None, rules.workspace)).complaint == complaint
    rules.permissions.configure(ParsedRules((allow,)))
    assert (await rules.decide(rules.command)).decision == "allow"
    with pytest.raises(ReadOnlyConfigurationError):
        await rules.permissions.remove("me", "config:1")
    with pytest.raises(UnknownRuleError):
        await rules.permissions.remove("me", "nothing")


async def test_nobody_removes_the_rule_of_another_owner(rules: Rules) -> None:
    rule = await rules.permissions.add("me", Rule("", "deny", "run"))
    with pytest.raises(UnknownRuleError):
        await rules.permissions.remove("she", rule.id)
    assert (await rules.decide(rules.command)).decision == "deny"


async def test_the_home_folder_stands_for_its_path(rules: Rules) -> None:
    await rules.permissions.add("me", Rule("", "deny", "*", paths=("~/keys",)))
    read = Inspection("Read", paths=(PathUse(f"{rules.config}/keys/a", "read", "elsewhere"),))
    assert (await rules.decide(read, tool="read_file")).decision == "deny"
    (listed,) = (await rules.permissions.list("me", None, rules.workspace)).rules
    assert listed.paths == ("~/keys",)


async def test_the_instructions_of_a_project_count_once_they_are_trusted(rules: Rules) -> None:
    instructions = Instructions(rules.permissions, rules.sources)
    assert await instructions.text(rules.chat, rules.workspace) is None
    (rules.config / "AGENTS.md").write_text("Be brief.\n")
    (rules.root / "AGENTS.md").write_text("Use tabs.\n")
    own, project = await instructions.files("me", rules.workspace)
    assert (own.state, own.root, own.text) == ("used", None, "Be brief.\n")
    assert (project.state, project.root, project.text) == ("untrusted", rules.uri, "Use tabs.\n")
    text = await instructions.text(rules.chat, rules.workspace)
    assert text == f"Instructions from {rules.config}/AGENTS.md:\n\nBe brief."

    await rules.permissions.set_trust("me", rules.uri, project.hash, trusted=True)
    text = await instructions.text(rules.chat, rules.workspace)
    assert text is not None
    assert text.endswith(f"Instructions from {rules.root.resolve()}/AGENTS.md:\n\nUse tabs.")
    assert "Use tabs" not in (await instructions.text(rules.hers, rules.workspace) or "")
    (rules.root / "AGENTS.md").write_text("Use tabs!\n")
    assert "tabs" not in (await instructions.text(rules.chat, rules.workspace) or "")


async def test_instructions_are_cut_at_64_kib_in_all_and_say_so(rules: Rules) -> None:
    instructions = Instructions(rules.permissions, rules.sources)
    (rules.config / "AGENTS.md").write_text("é" * (MAX_BYTES // 2 - 8))
    (rules.root / "AGENTS.md").write_text("x" + "é" * 100)
    (_, project) = await instructions.files("me", rules.workspace)
    await rules.permissions.set_trust("me", rules.uri, project.hash, trusted=True)
    own, project = await instructions.files("me", rules.workspace)
    assert (own.is_cut, project.is_cut, project.text, project.size) == (False, True, "x" + "é" * 7, 201)
    text = await instructions.text(rules.chat, rules.workspace)
    assert text is not None
    assert text.endswith(f"[{rules.root.resolve()}/AGENTS.md goes on here; the rest is left out.]")
    (rules.config / "AGENTS.md").write_bytes(b"\0")
    own, _ = await instructions.files("me", rules.workspace)
    assert (own.state, own.problem) == ("unusable", f"{rules.config}/AGENTS.md is no text.")
