"""What MCP servers ask people during a call: by forms that are checked, ending with their call."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from parley_daemon.core.agents.answers import InvalidAnswerError
from parley_daemon.core.agents.mcp_tools.forms import MAX_MESSAGE
from parley_daemon.core.agents.rules import Rule
from parley_daemon.core.events import ActionRequired, ActionResolved, TurnEnded
from parley_daemon.core.records import Status
from parley_daemon.ports.mcp import McpCallError, McpCallMonitor, McpQuestion, McpReply, McpResult
from parley_daemon.ports.projects import ParsedRules
from tests.support.engine.mcp_servers import GivenServer, GivenServers, info, text_result
from tests.support.engine.rig import Disk, Recorder, Rig, running
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, asked, call, respond, results, start
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio

FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
NAME = McpQuestion("Who are you?", FORM)
ALLOWED = ParsedRules((Rule("r", "allow", "mcp__s__*"),))


class AskingServer(GivenServer):
    """A server with a tool that asks questions, one after the other."""

    def __init__(self, *questions: McpQuestion) -> None:
        super().__init__("s", info("ask"))
        self.questions = questions
        self.replies: list[McpReply] = []
        self.dies = anyio.Event()
        self.behaviour["ask"] = self._ask

    async def _ask(self, args: Mapping[str, Any], monitor: McpCallMonitor) -> McpResult:
        async def wait_for_death() -> None:
            await self.dies.wait()
            raise McpCallError("The MCP server s has ended.", "unknown")

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait_for_death)
                for question in self.questions:
                    self.replies.append(await monitor.ask(question))
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return text_result("asked")


def serving(server: GivenServer, disk: Disk | None = None, **options: Any) -> Any:
    servers = GivenServers(server)
    toolbox = GivenToolbox(ScriptedTool("read_file", "read"), roots=(ROOT,))
    return running(disk, chat_servers=lambda: servers, toolbox=toolbox, configured_rules=ALLOWED, **options)


async def begin(rig: Rig, **settings: Any) -> tuple[str, Recorder]:
    """Let the model call the tool that asks."""
    chat_id, heard = await start(rig, **settings)
    await (await rig.model.asked()).finish(call("mcp__s__ask"), reason="tool_calls")
    return chat_id, heard


async def test_a_form_is_shown_and_answered() -> None:
    server = AskingServer(NAME)
    async with serving(server) as rig:
        chat_id, heard = await begin(rig)
        request = await asked(heard)
        assert (request.kind, request.title, request.tool_call_id) == (
            "elicitation",
            "s asks: Who are you?",
            "c1",
        )
        form = request.preview.form
        assert form is not None
        assert (form.server, form.message, form.answer_schema) == ("s", "Who are you?", FORM)
        assert (await rig.view(chat_id)).status is Status.PAUSED
        wrong: list[Any] = [None, {}, {"answers": {}}, {"answers": {"name": 1}}, {"name": "Ada"}]
        for result in wrong:
            with pytest.raises(InvalidAnswerError):
                await respond(rig, chat_id, request, "allow", result)
        await respond(rig, chat_id, request, "allow", {"answers": {"name": "Ada"}})
        await rig.model.asked()
        assert server.replies == [McpReply("accept", {"name": "Ada"})]
        assert len(heard.of(ActionResolved)) == 1


async def test_a_denial_declines_and_the_next_question_is_asked() -> None:
    url = McpQuestion("Log in", None, "https://example.com/login")
    server = AskingServer(NAME, url)
    async with serving(server) as rig:
        chat_id, heard = await begin(rig)
        await respond(rig, chat_id, await asked(heard), "deny", {"reason": "I do not want to."})
        second = await asked(heard, 2)
        assert second.preview.url == url.url
        with pytest.raises(InvalidAnswerError):
            await respond(rig, chat_id, second, "allow", {"answers": {}})
        await respond(rig, chat_id, second)
        await rig.model.asked()
        assert server.replies == [McpReply("decline"), McpReply("accept")]


async def test_what_is_no_form_or_page_is_declined_unseen() -> None:
    server = AskingServer(
        McpQuestion("?", {"type": "object", "properties": {"a": {"type": "object"}}}),
        McpQuestion("?", None, "file:///etc/passwd"),
        McpQuestion("?", None),
    )
    async with serving(server) as rig:
        _, heard = await begin(rig)
        await rig.model.asked()
        assert server.replies == [McpReply("decline")] * 3
        assert heard.of(ActionRequired) == []


async def test_where_nobody_answers_it_is_declined_at_once() -> None:
    server = AskingServer(NAME)
    async with serving(server) as rig:
        _, heard = await begin(rig, interactive=False)
        await rig.model.asked()
        assert server.replies == [McpReply("decline")]
        assert heard.of(ActionRequired) == []


async def test_a_server_cannot_ask_for_ever_or_at_any_length() -> None:
    server = AskingServer(*[McpQuestion("x" * 10**6, FORM)] * 12)
    async with serving(server) as rig:
        chat_id, heard = await begin(rig)
        for number in range(1, 11):
            request = await asked(heard, number)
            form = request.preview.form
            assert form is not None
            assert (len(form.message), len(request.title) < 200) == (MAX_MESSAGE, True)
            await respond(rig, chat_id, request, "deny")
        await rig.model.asked()
        assert server.replies == [McpReply("decline")] * 12


async def test_a_question_ends_with_its_call() -> None:
    server = AskingServer(NAME)
    async with serving(server) as rig:
        chat_id, heard = await begin(rig)
        request = await asked(heard)
        server.dies.set()
        second = await rig.model.asked()
        (resolved,) = heard.of(ActionResolved)
        assert (resolved.request_id, resolved.outcome) == (request.id, "expired")
        ((_, text, outcome),) = results((await rig.snapshot(chat_id)).messages)
        assert (outcome, "not known" in text) == ("failed", True)
        await second.finish(call("read_file", "c2", path="a"), reason="tool_calls")  # the turn goes on
        await (await rig.model.asked()).finish("Done.")
        assert (await heard.ended()).outcome == "completed"


async def test_an_interrupt_ends_the_call_and_its_question() -> None:
    server = AskingServer(NAME)
    async with serving(server) as rig:
        chat_id, heard = await begin(rig)
        await asked(heard)
        await rig.interrupt(chat_id)
        assert (await heard.ended()).outcome == "interrupted"
        (resolved,) = heard.of(ActionResolved)
        assert resolved.outcome == "interrupted"
        assert [outcome for _, _, outcome in results((await rig.snapshot(chat_id)).messages)] == [
            "interrupted"
        ]
        assert (server.replies, (await rig.view(chat_id)).open_requests) == ([], 0)


async def test_after_a_crash_the_call_is_interrupted_and_not_run_again(disk: Disk) -> None:
    server = AskingServer(NAME)
    async with serving(server, disk) as rig:
        chat_id, heard = await begin(rig)
        await asked(heard)
        async with rig.restarted() as later:
            view = await later.view(chat_id)
            assert (view.status, view.open_requests) == (Status.WAITING, 0)
            ((_, text, outcome),) = results((await later.snapshot(chat_id)).messages)
            assert (outcome, "not repeated" in text) == ("interrupted", True)
        assert len(server.calls) == 1


async def test_a_daemon_that_stops_ends_the_turn_instead_of_keeping_the_question() -> None:
    server = AskingServer(NAME)
    async with serving(server) as rig:
        chat_id, heard = await begin(rig)
        await asked(heard)
        await rig.engine.stop()
        ended = heard.of(TurnEnded)
        assert [one.outcome for one in ended] == ["interrupted"]
        assert (await rig.view(chat_id)).open_requests == 0
