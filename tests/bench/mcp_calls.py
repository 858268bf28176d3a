"""p: MCP servers. What a call through the helper adds to one that goes to the server's pipe directly."""

import json
import subprocess
import tempfile
import time
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

import anyio

from parley_daemon.ports.mcp import McpConnection
from tests.bench.flow import median, percentile
from tests.bench.processes import Workshop, read_pss
from tests.bench.report import Row
from tests.support.mcp.rig import call, run_rig
from tests.support.mcp.stub import StubLog, stub_command

_ADDED_MS = 3.0
_HELPER_MIB = 60.0
_SERVERS = 10
_SETTLE_SECONDS = 3.0


def measure(shop: Workshop) -> list[Row]:
    """Call a server that answers at once, directly and through the helper. No rows without the SDK."""
    if util.find_spec("mcp") is None:
        return []
    count = 200 if shop.quick else 2_000
    with tempfile.TemporaryDirectory() as folder:
        direct = _call_directly(Path(folder), count)
        return anyio.run(partial(_call_through_helper, Path(folder), count, direct))


async def _call_through_helper(folder: Path, count: int, direct: list[float]) -> list[Row]:
    async with run_rig(folder, idle_seconds=0) as rig:
        start = time.perf_counter()
        first = await rig.connect()
        connected = time.perf_counter() - start
        await first.manifest()
        times = await _time_calls(first, count)
        one = _pss(rig.connector.helper_pid)
        others = [await rig.connect() for _ in range(_SERVERS - 1)]
        many = _pss(rig.connector.helper_pid)
        for _ in range(3):
            await call(first, "long_text", bytes=50_000_000)
        await anyio.sleep(_SETTLE_SECONDS)
        large = _pss(rig.connector.helper_pid)
        for connection in [first, *others]:
            await connection.close()
        while rig.connector.helper_pid is not None:  # noqa: ASYNC110 - the process tells nobody
            await anyio.sleep(0.01)
    plain = {"direct": median(direct)}
    return [
        Row("p", "call of an MCP tool, p50", "ms", median(times), None, plain),
        Row("p", "the same, added by the helper", "ms", median(times) - median(direct), _ADDED_MS),
        Row("p", "the same, p99", "ms", percentile(times, 99), None, {"direct": percentile(direct, 99)}),
        Row("p", "first server connected, with the helper's start", "ms", connected * 1000),
        Row("p", "helper: PSS with one server in use", "MiB", one, _HELPER_MIB),
        Row("p", f"helper: PSS with {_SERVERS} servers", "MiB", many, _HELPER_MIB),
        Row("p", "helper: PSS after results of 50 MB", "MiB", large, _HELPER_MIB),
    ]


async def _time_calls(connection: McpConnection, count: int) -> list[float]:
    times: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        await call(connection, "echo", text="x" * 100)
        times.append((time.perf_counter() - start) * 1000)
    return times


def _call_directly(folder: Path, count: int) -> list[float]:
    with subprocess.Popen(
        stub_command(StubLog(folder / "direct.log")), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        times: list[float] = []
        for number in range(count):
            params: dict[str, Any] = {"name": "echo", "arguments": {"text": "x" * 100}}
            request = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
            start = time.perf_counter()
            server.stdin.write(json.dumps(request).encode() + b"\n")
            server.stdin.flush()
            json.loads(server.stdout.readline())
            times.append((time.perf_counter() - start) * 1000)
    return times


def _pss(pid: int | None) -> float:
    assert pid is not None
    return read_pss(pid)
