"""Servers of both eras, over pipes and HTTP, through the helper process."""

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import anyio
import pytest

from parley_daemon.adapters.mcp.connector import MISSING, HelperConnector
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.mcp import McpCallError, McpConnectError, McpReply, McpTarget
from tests.support.mcp.rig import Events, Monitor, call, needs_sdk, run_rig, text
from tests.support.mcp.stub import StubLog, http_stub, stub_target

pytestmark = [pytest.mark.slow, needs_sdk]

ERAS = ["2025-11-25", "2026-07-28"]


def make_target(kind: str, era: str, log: StubLog) -> AbstractContextManager[McpTarget]:
    return http_stub(log, "--era", era) if kind == "http" else nullcontext(stub_target(log, "--era", era))


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["pipes", "http"])
async def test_a_server_says_what_it_offers_and_does_it(kind: str, era: str, tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        with make_target(kind, era, rig.log) as target:
            events = Events()
            connection = await rig.reach(target, events)
            manifest = await connection.manifest()
            assert (manifest.era, manifest.server_name, manifest.server_version) == (era, "stub", "1.0")
            tools = {tool.name: tool for tool in manifest.tools}
            assert (tools["echo"].read_only, tools["echo"].title) == (True, "The tool echo")
            assert (tools["write"].read_only, tools["write"].destructive) == (False, True)
            assert [one.uri for one in manifest.resources] == [
                "stub://note",
                "stub://picture",
                "stub://item/{id}",
            ]
            assert manifest.prompts[0].arguments == (("name", "Whom", True), ("style", None, False))
            assert (connection.pid is None) == (kind == "http")

            assert await text(connection, "echo", text="grüß dich 😀") == "grüß dich 😀"
            assert (await call(connection, "fail")).is_error
            assert (await call(connection, "structured")).structured["rows"][1]["row"] == 1
            assert "item 7" in str(await connection.read_resource("stub://item/7"))
            (picture,) = await connection.read_resource("stub://picture")
            assert picture["mediaType"] == "image/png"
            said = await connection.get_prompt("greet", {"name": "Ann"})
            assert [role for role, _ in said] == ["user", "assistant"]

            monitor = Monitor(McpReply("accept", {"name": "Ann"}))
            asked = await call(connection, "ask", monitor)
            assert '"name": "Ann"' in asked.content[0]["text"]
            assert monitor.questions[0].message == "Who are you?"
            page = Monitor(McpReply("accept"))
            await call(connection, "ask_url", page)
            assert (page.questions[0].url, page.questions[0].schema) == ("https://example.com/login", None)

            await call(connection, "change")
            with anyio.fail_after(60):
                await events.changed.wait()
            assert "added_0" in {tool.name for tool in (await connection.manifest()).tools}
            await connection.close()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kind", ["pipes", "http"])
async def test_a_cancelled_call_reaches_the_server_and_the_next_one_works(
    kind: str, era: str, tmp_path: Path
) -> None:
    async with run_rig(tmp_path) as rig:
        with make_target(kind, era, rig.log) as target:
            connection = await rig.reach(target)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, connection, "wait")
                await rig.wait_for("effect")
                tasks.cancel_scope.cancel()
            await rig.wait_for("stopped waiting")
            assert await text(connection, "echo", text="next") == "next"
            await connection.close()


async def test_a_server_gets_exactly_the_environment_it_is_given(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        told = json.loads(await text(connection, "environment"))
        # Python sets LC_CTYPE itself where no locale is set.
        assert {name: value for name, value in told["environment"].items() if name != "LC_CTYPE"} == {
            "PATH": "/usr/bin:/bin",
            "ONLY": "this",
        }
        assert told["cwd"] == str(tmp_path)


async def test_one_helper_serves_all_servers_and_ends_when_none_is_used(tmp_path: Path) -> None:
    async with run_rig(tmp_path, idle_seconds=0) as rig:
        assert rig.connector.helper_pid is None
        one, two = await rig.connect(), await rig.connect()
        helper = rig.connector.helper_pid
        assert helper is not None
        await one.close()
        assert await text(two, "echo", text="still here") == "still here"
        assert rig.connector.helper_pid == helper
        await two.close()
        with anyio.fail_after(60):
            while rig.connector.helper_pid is not None:  # noqa: ASYNC110 - the process tells nobody
                await anyio.sleep(0.01)
        three = await rig.connect()
        assert rig.connector.helper_pid not in (None, helper)
        assert await text(three, "echo", text="again") == "again"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (McpTarget(command="no-such-program-here"), "The program no-such-program-here was not found."),
        (McpTarget(command="/bin/sh", cwd="/no/such/folder"), "The folder /no/such/folder does not exist."),
        (McpTarget(url="http://127.0.0.1:1/mcp"), "it cannot be reached"),
        (McpTarget(url="ftp://example.com"), "begins with http:// or https://"),
        (McpTarget(), "either a command or a URL"),
    ],
)
async def test_what_cannot_be_connected_is_said_in_a_sentence(
    target: McpTarget, reason: str, tmp_path: Path
) -> None:
    async with run_rig(tmp_path) as rig:
        with pytest.raises(McpConnectError, match=reason):
            await rig.reach(target)


async def test_a_server_that_wants_an_authorization_says_so_and_takes_one(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        with http_stub(rig.log, "--token", "the-secret") as target:
            with pytest.raises(McpConnectError) as refused:
                await rig.reach(target)
            assert refused.value.needs_auth
            headers = {"Authorization": "Bearer the-secret"}
            connection = await rig.reach(McpTarget(url=target.url, headers=headers))
            assert await text(connection, "echo", text="let in") == "let in"


async def test_calls_with_an_error_say_whether_they_were_carried_out(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        with pytest.raises(McpCallError, match="Unknown tool") as refused:
            await call(connection, "refuse")
        assert refused.value.fate == "refused"
        await connection.close()
        with pytest.raises(McpCallError, match="it was stopped") as gone:
            await call(connection, "echo")
        assert gone.value.fate == "refused"


async def test_without_the_sdk_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str) -> None:
        assert name == "mcp"

    monkeypatch.setattr("parley_daemon.adapters.mcp.connector.util.find_spec", find_nothing)
    connector = HelperConnector(BackgroundTasks())
    assert connector.problem == MISSING
    assert "pip install 'parleyd[mcp]'" in MISSING
    with pytest.raises(McpConnectError, match="pip install"):
        await connector.connect(McpTarget(command="x"), Events())
