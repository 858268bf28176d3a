"""What becomes of a call, of other servers and of memory when a server breaks the rules."""

import re
from pathlib import Path

import anyio
import pytest

from parley_daemon.ports.mcp import McpCallError, McpConnectError, McpLimits, McpReply, McpTarget
from tests.support.mcp.rig import Events, McpRig, Monitor, call, needs_sdk, run_rig, text
from tests.support.mcp.stub import http_stub

pytestmark = [pytest.mark.slow, needs_sdk]

MEGABYTE = 1024 * 1024


def peak_memory(rig: McpRig) -> int:
    """Return the most memory that the helper has had, in bytes."""
    status = Path(f"/proc/{rig.connector.helper_pid}/status").read_text("utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def test_a_server_that_dies_at_its_start_is_reported_with_its_last_words(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        with pytest.raises(McpConnectError, match=r"exit status 1.*cannot find its database"):
            await rig.connect("--die-at-start")
        assert await text(await rig.connect(), "echo", text="another") == "another"


async def test_last_words_do_not_tell_what_the_server_was_given(tmp_path: Path) -> None:
    script = 'echo "login with $TOKEN failed" >&2; exit 3'
    target = McpTarget("/bin/sh", ("-c", script), {"TOKEN": "sk-very-secret"}, str(tmp_path))
    async with run_rig(tmp_path) as rig:
        with pytest.raises(McpConnectError, match=r"exit status 3.*login with \[hidden\] failed"):
            await rig.reach(target)


async def test_a_server_that_never_answers_is_given_up_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    async with run_rig(tmp_path, connect_seconds=3) as rig:
        with pytest.raises(McpConnectError, match="not answered within 3 s"):
            await rig.connect("--silent")
        assert [pid for pid in rig.log.pids if Path(f"/proc/{pid}").exists()] == []


async def test_noise_is_counted_and_does_no_harm(tmp_path: Path) -> None:
    events = Events()
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--noise", "7", "--stderr", "3000000", events=events)
        assert await text(connection, "echo", text="heard") == "heard"
        with anyio.fail_after(60):
            await events.changed.wait()
    assert events.noises % 7 == 0


@pytest.mark.timeout(300)
async def test_a_line_of_a_gigabyte_does_not_fill_the_memory_or_hold_up_others(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        other = await rig.connect()
        connection = await rig.connect("--long-line", str(1024 * MEGABYTE))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.manifest)
            for number in range(20):
                assert await text(other, "echo", text=str(number)) == str(number)
        assert await text(connection, "echo", text="after it") == "after it"
        assert peak_memory(rig) < 200 * MEGABYTE


async def test_results_of_any_size_are_limited_and_valid(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        long = await text(connection, "long_text", bytes=50 * MEGABYTE)
        assert long.startswith("begin xxx")
        assert long.endswith("xxx end")
        assert len(long) < 70_000
        assert "not shown" in await text(connection, "image", bytes=50 * MEGABYTE)
        (image,) = (await call(connection, "image", bytes=MEGABYTE)).content
        assert image["mediaType"] == "image/png"
        items = await text(connection, "many_items", count=10_000)
        assert items.startswith("item 0\nitem 1\n")
        assert items.endswith("item 9999")
        assert len(items) < 70_000
        rows = await call(connection, "structured", rows=100_000)
        assert rows.structured is None
        assert rows.content[0]["text"].startswith('{"rows"')
        assert peak_memory(rig) < 300 * MEGABYTE


async def test_a_body_of_any_size_does_not_fill_the_memory(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        with http_stub(rig.log, "--body", str(300 * MEGABYTE)) as target:
            connection = await rig.reach(target)
            long = await text(connection, "echo")
            assert long.startswith("begin xxx")
            assert long.endswith("xxx end")
            assert peak_memory(rig) < 150 * MEGABYTE


async def test_tools_with_a_bad_schema_are_set_aside_alone(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--bad-schemas", "500", "--page", "40")
        manifest = await connection.manifest()
        assert "echo" in {tool.name for tool in manifest.tools}
        assert len(manifest.set_aside) == 500
        assert "not an object" in manifest.set_aside["bad_4"]
        assert '"#/$defs/missing"' in manifest.set_aside["bad_2"]
        assert not any(tool.name.startswith("bad_") for tool in manifest.tools)


async def test_a_list_without_end_ends(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--endless-pages")
        assert len((await connection.manifest()).tools) >= 1


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_changes_ten_times_a_second_are_told_a_few_times(era: str, tmp_path: Path) -> None:
    events = Events()
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--changing", "0.02", "--era", era, events=events)
        with anyio.fail_after(60):
            while events.changes < 3:
                events.changed = anyio.Event()
                await events.changed.wait()
        added = [tool for tool in (await connection.manifest()).tools if tool.name.startswith("added_")]
        assert len(added) > 3 * events.changes


async def test_a_call_whose_server_dies_after_the_effect_is_not_repeated(tmp_path: Path) -> None:
    events = Events()
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect(events=events)
        with pytest.raises(McpCallError, match="exit status 3") as lost:
            await call(connection, "die")
        assert lost.value.fate == "unknown"
        with anyio.fail_after(60):
            await events.over.wait()
        assert rig.log.count("effect") == 1
        with pytest.raises(McpCallError, match="gone") as refused:
            await call(connection, "write")
        assert refused.value.fate == "refused"
        assert rig.log.count("effect") == 1


async def test_progress_keeps_a_call_alive_until_the_total_limit(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        monitor = Monitor()
        limits = McpLimits(idle=4, total=60)
        result = await call(connection, "report", monitor, limits, count=12, every=0.5)
        assert result.content[0]["text"] == "reported"
        assert monitor.lines[0] == "step 1 of 12 (1)"
        with pytest.raises(McpCallError, match="longer than 2 s") as late:
            await call(connection, "report", monitor, McpLimits(idle=4, total=2), count=1000, every=0.5)
        assert late.value.fate == "timed_out"
        with pytest.raises(McpCallError, match="no progress for 1 s") as idle:
            await call(connection, "wait", monitor, McpLimits(idle=1, total=60))
        assert idle.value.fate == "timed_out"
        await rig.wait_for("stopped waiting")
        assert await text(connection, "echo", text="next") == "next"


async def test_the_time_of_a_question_does_not_count(tmp_path: Path) -> None:
    class SlowPerson(Monitor):
        async def ask(self, question: object) -> McpReply:
            await anyio.sleep(6)
            return McpReply("decline")

    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        result = await call(connection, "ask", SlowPerson(), McpLimits(idle=5, total=5))
        assert '"decline"' in result.content[0]["text"]


async def test_a_question_ends_with_its_server(tmp_path: Path) -> None:
    monitor = Monitor()
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(McpCallError) as lost:
                    await call(connection, "ask", monitor)
                assert lost.value.fate == "unknown"

            tasks.start_soon(ask)
            await monitor.asked.wait()
            with pytest.raises(McpCallError):
                await call(connection, "die")
        assert monitor.was_withdrawn


async def test_a_question_ends_with_its_call_and_counts_no_more(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        for _ in range(6):  # more than can be open at once
            monitor = Monitor()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, connection, "ask", monitor)
                with anyio.fail_after(60):
                    await monitor.asked.wait()
                tasks.cancel_scope.cancel()
        answered = Monitor(McpReply("accept", {"name": "x"}))
        result = await call(connection, "ask", answered)
        assert '"accept"' in result.content[0]["text"]


async def test_nobody_is_asked_when_it_cannot_be_told_which_call_asks(tmp_path: Path) -> None:
    monitor = Monitor(McpReply("accept", {"name": "x"}))
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, connection, "wait")
            await rig.wait_for("effect")
            assert "several calls" in (await call(connection, "ask", monitor)).content[0]["text"]
            tasks.cancel_scope.cancel()
        assert monitor.questions == []


async def test_a_server_that_stands_still_is_stopped_all_the_same(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect()
        with pytest.raises(McpCallError) as late:
            await call(connection, "sleep_deeply", limits=McpLimits(idle=1))
        assert late.value.fate == "timed_out"
        await connection.close()
        assert not Path(f"/proc/{rig.log.pids[0]}").exists()


async def test_a_server_that_is_not_there_any_more_has_not_run_a_call(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        with http_stub(rig.log) as target:
            connection = await rig.reach(target)
        with pytest.raises(McpCallError, match="cannot be reached") as refused:
            await call(connection, "write")
        assert refused.value.fate == "refused"


async def test_a_session_that_the_server_has_forgotten_ends_the_connection(tmp_path: Path) -> None:
    events = Events()
    async with run_rig(tmp_path) as rig:
        with http_stub(rig.log, "--forget") as target:
            connection = await rig.reach(target, events)
            await call(connection, "write")
            with pytest.raises(McpCallError) as refused:
                await call(connection, "write")
            assert refused.value.fate == "refused"
            with anyio.fail_after(60):
                await events.over.wait()
            assert events.reason == "it has ended the session"
            assert rig.log.count("effect") == 1


async def test_an_old_server_that_ends_at_an_unknown_question_gets_the_handshake(tmp_path: Path) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect("--old")
        assert await text(connection, "echo", text="hello") == "hello"
        assert len(rig.log.pids) == 2


async def test_a_server_that_asks_without_end_is_stopped_and_others_go_on(tmp_path: Path) -> None:
    events = Events()
    async with run_rig(tmp_path) as rig:
        other = await rig.connect()
        connection = await rig.connect(events=events)
        with pytest.raises(McpCallError, match="asks too much") as lost:
            await call(connection, "flood")
        assert lost.value.fate == "unknown"
        with anyio.fail_after(60):
            await events.over.wait()
        assert await text(other, "echo", text="unharmed") == "unharmed"
        assert peak_memory(rig) < 150 * MEGABYTE


@pytest.mark.parametrize("modes", [("--deaf",), ("--slow-start", "6", "--era", "2026-07-28")])
async def test_a_server_that_does_not_answer_the_first_question_is_understood(
    modes: tuple[str, ...], tmp_path: Path
) -> None:
    async with run_rig(tmp_path) as rig:
        connection = await rig.connect(*modes)
        assert await text(connection, "echo", text="hello") == "hello"
        assert len(rig.log.pids) == 1
