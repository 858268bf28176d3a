"""What an approval holds for: commands and files as they were shown. The commands are real ones."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

from parley_daemon.adapters.os import project_files
from parley_daemon.core.agents.actions import ActionDecision, ActionRequest
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.events import ActionRequired
from parley_daemon.core.parts import ToolResult
from parley_daemon.core.records import Context
from tests.support.engine.policy import policy_sources
from tests.support.engine.rig import Recorder, Rig, running
from tests.support.engine.scripted_tools import agent, call
from tests.support.tools.file_rig import FileRig

pytestmark = pytest.mark.slow


@dataclass
class Asked:
    """A chat in the mode "ask", in a project with a script."""

    rig: Rig
    chat_id: str
    heard: Recorder
    root: Path
    can_hide: bool

    async def question(self, number: int) -> ActionRequest:
        """Wait for so many questions; return the last of them."""
        await self.heard.until(lambda: len(self.heard.of(ActionRequired)) >= number)
        return self.heard.of(ActionRequired)[number - 1].request

    async def answer(
        self, request: ActionRequest, decision: ActionDecision, rule_id: str | None = None
    ) -> None:
        """Answer a question."""
        async with self.rig.chats.open(self.chat_id) as chat:
            result = None if rule_id is None else {"ruleId": rule_id}
            await chat.requests.respond(request.id, decision, result, args_hash=request.args_hash)

    async def run(self, command: str) -> None:
        """Let the model run a command."""
        asked = await self.rig.model.asked()
        await asked.finish(call("run", command=command), reason="tool_calls")

    async def result(self) -> ToolResult:
        """Return the newest result, which the model has got."""
        asked = await self.rig.model.asked()
        await asked.finish("Done.")
        (result,) = [part for part in asked.request.messages[-1].parts if isinstance(part, ToolResult)]
        return result


@pytest.fixture
async def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Asked]:
    monkeypatch.setattr(project_files, "FRESH_SECONDS", 0.0)
    files = FileRig(tmp_path)
    script = files.root / "x.sh"
    script.write_text("#!/bin/sh\necho first\n")
    script.chmod(0o755)
    async with (
        files.tasks.running(),
        running(toolbox=files.toolbox, policy_sources=policy_sources(str(tmp_path / "config"))) as rig,
    ):
        context = Context(repositories=(files.root.as_uri(),))
        chat_id = await rig.chat(settings=agent("ask"), context=context)
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "Do it.")
        can_hide = (await files.sandbox.probe()).can_hide((str(files.root),))
        yield Asked(rig, chat_id, heard, files.root, can_hide)


async def test_a_script_that_has_changed_since_it_was_shown_is_asked_about_again(asked: Asked) -> None:
    await asked.run("./x.sh")
    first = await asked.question(1)
    assert first.rules == ()  # its content can change, so it is never allowed for good
    (asked.root / "x.sh").write_text("#!/bin/sh\necho second\n")
    await asked.answer(first, "allow")
    second = await asked.question(2)
    assert second.id != first.id
    assert second.args_hash != first.args_hash
    await asked.answer(second, "allow")
    result = await asked.result()
    assert str(result.result).startswith("second\n")
    assert len(asked.heard.of(ActionRequired)) == 2


async def test_a_question_has_one_line_that_hides_nothing(asked: Asked) -> None:
    await asked.run("ls\nrm -r \u202ex")
    several = await asked.question(1)
    assert (several.title, several.preview.command) == ("Run ls …", "ls\nrm -r \u202ex")
    await asked.answer(several, "deny")
    await asked.result()
    await asked.heard.ended()
    await asked.rig.send(asked.chat_id, "Again.")
    await asked.run("echo \u202ex\u3164\x1b[2J")
    hidden = await asked.question(2)
    assert hidden.title == "Run echo <U+202E>x<U+3164><U+001B>[2J"
    await asked.answer(hidden, "deny")
    await asked.result()


async def test_a_rule_about_a_file_holds_for_a_search_in_its_folder(asked: Asked) -> None:
    (asked.root / ".env").write_text("TOKEN=canary\n", "utf-8")
    async with asked.rig.chats.open(asked.chat_id) as chat:
        owner = chat.view.chat.owner
    await asked.rig.engine.permissions.add(owner, Rule("", "deny", "*", paths=(".env",)))
    first = await asked.rig.model.asked()
    await first.finish(call("search_text", pattern="canary"), reason="tool_calls")
    result = await asked.result()
    assert (result.outcome, "canary" in str(result.result)) == ("ok", False)
    assert "left out" in str(result.result)


async def test_what_is_allowed_for_good_is_the_rule_that_was_shown(asked: Asked) -> None:
    await asked.run("ls x.sh")
    first = await asked.question(1)
    shown = {one.id: one for one in first.rules}
    chosen = next(one for one in first.rules if one.scope.chat_id is not None)
    await asked.answer(first, "allow_always", chosen.id)
    assert "x.sh" in str((await asked.result()).result)
    await asked.heard.ended()

    async with asked.rig.chats.open(asked.chat_id) as chat:
        record = chat.view.chat
    (stored,) = (await asked.rig.engine.policy.list(record.owner, record)).rules
    assert (rule_text(stored), stored.scope, stored.source) == (
        rule_text(shown[chosen.id]),
        chosen.scope,
        f"request:{first.id}",
    )
    await asked.rig.send(asked.chat_id, "Again.")
    await asked.run("ls -l x.sh")
    assert "x.sh" in str((await asked.result()).result)
    await asked.heard.ended(2)
    await asked.rig.send(asked.chat_id, "And again.")
    await asked.run("ls x.sh && ./x.sh")
    await asked.answer(await asked.question(2), "deny")
    assert (await asked.result()).outcome == "denied"


async def test_an_approval_holds_for_the_network_that_was_shown(asked: Asked) -> None:
    async with asked.rig.chats.open(asked.chat_id) as chat:
        owner = chat.view.chat.owner
    permissions = asked.rig.engine.permissions
    opens = Rule("", "ask", "run", command="touch new.txt", network="all")
    kept = await permissions.add(owner, opens)
    await asked.run("touch new.txt")
    first = await asked.question(1)
    assert (first.title, first.preview.network) == ("Run touch new.txt (with network)", "all")
    await permissions.remove(owner, kept.id)
    await asked.answer(first, "allow")
    second = await asked.question(2)
    assert (second.title, second.preview.network) == ("Run touch new.txt", None)
    assert second.args_hash != first.args_hash
    assert not (asked.root / "new.txt").exists()
    await permissions.add(owner, opens)  # what is wider than what was shown is asked about, too
    await asked.answer(second, "allow")
    third = await asked.question(3)
    assert third.args_hash == first.args_hash
    await asked.answer(third, "allow")
    assert (await asked.result()).outcome == "ok"
    assert (asked.root / "new.txt").exists()


async def test_what_a_rule_denies_is_hidden_from_a_command_or_named_in_the_question(asked: Asked) -> None:
    (asked.root / "a.pem").write_text("canary\n")
    async with asked.rig.chats.open(asked.chat_id) as chat:
        owner = chat.view.chat.owner
    permissions = asked.rig.engine.permissions
    await permissions.add(owner, Rule("", "allow", "run", command="grep"))
    await permissions.add(owner, Rule("", "deny", "read_file", paths=("*.pem",)))
    await asked.run("grep -r canary .")
    if asked.can_hide:
        result = await asked.result()
        assert (result.outcome, "canary" in str(result.result)) == ("failed", False)
        assert "By rules, commands see nothing of" in str(result.result)
        return
    question = await asked.question(1)
    assert (f"{asked.root}/a.pem" in question.title, question.rules) == (True, ())
    (asked.root / "b.pem").write_text("canary\n")
    await asked.answer(question, "allow")
    again = await asked.question(2)  # it could use more by now
    assert "b.pem" in again.title
    await asked.answer(again, "deny")
    assert (await asked.result()).outcome == "denied"


async def test_instructions_reach_the_model_in_agent_turns_once_they_are_trusted(asked: Asked) -> None:
    first = await asked.rig.model.asked()
    assert "AGENTS.md" not in (first.request.system_prompt or "")
    await first.finish("Done.")
    await asked.heard.ended()
    (asked.root / "AGENTS.md").write_text("Use tabs.\n")
    async with asked.rig.chats.open(asked.chat_id) as chat:
        record = chat.view.chat
    engine = asked.rig.engine
    (file,) = await engine.policy.find_instructions(record.owner, record)
    assert file.root is not None
    await engine.permissions.set_trust(record.owner, file.root, file.hash, trusted=True)
    await asked.rig.send(asked.chat_id, "Go on.")
    second = await asked.rig.model.asked()
    assert (second.request.system_prompt or "").endswith("AGENTS.md:\n\nUse tabs.")
    await second.finish("Done.")
    await asked.heard.ended(2)
