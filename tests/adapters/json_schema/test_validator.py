"""Checks of JSON Schema in the worker processes."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.json_schema.validator import SchemaValidator
from parley_daemon.ports.schemas import SchemaCheckError, SchemaViolation
from tests.support.providers.server import fake_provider

TAKES_FOR_EVER: tuple[dict[str, Any], str] = ({"pattern": "^(a+)+$"}, "a" * 40 + "b")
NAMED: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}


@pytest.fixture
async def schemas() -> AsyncGenerator[SchemaValidator]:
    with anyio.fail_after(40):
        yield SchemaValidator()


async def test_the_worker_process_returns_the_same(schemas: SchemaValidator) -> None:
    assert await schemas.check_schema({"properties": 7}) == SchemaViolation(
        "properties", "must be an object, not 7"
    )
    assert await schemas.check_schema(NAMED) is None
    assert await schemas.check_value(NAMED, []) == SchemaViolation("", "must be an object")
    assert await schemas.check_value(NAMED, {"name": "x", "age": 2**70}) is None


async def test_a_worker_imports_nothing_from_the_working_folder(
    schemas: SchemaValidator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anyio", "jsonschema", "pickle"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    assert await schemas.check_value(NAMED, []) == SchemaViolation("", "must be an object")
    assert not (tmp_path / "canary").exists()
    assert "PYTHONSAFEPATH" not in os.environ  # it would reach what else the daemon starts


async def test_a_worker_that_died_while_idle_fails_no_check(schemas: SchemaValidator) -> None:
    await schemas.check_schema({})  # starts a process
    for worker in _workers():
        os.kill(worker, signal.SIGKILL)
    assert await schemas.check_value(NAMED, []) == SchemaViolation("", "must be an object")


def _workers() -> list[int]:
    """Return the process ids of this process's workers."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in children if b"to_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_check_that_nobody_waits_for_any_more_ends_by_itself(tmp_path: Path) -> None:
    code = (
        "from parley_daemon.adapters.json_schema.rules import check_value, check_within\n"
        f"check_within(0.1, check_value, *{TAKES_FOR_EVER!r})"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path).returncode == -signal.SIGXCPU


async def test_nothing_is_fetched_from_the_network(schemas: SchemaValidator) -> None:
    async with fake_provider() as server:
        for key in ("$ref", "$schema"):
            assert await schemas.check_schema({key: f"{server.origin}/schema"}) is not None
            with pytest.raises(SchemaCheckError, match="The schema is not valid"):
                await schemas.check_value({key: f"{server.origin}/schema"}, {})
        assert server.connections == 0


async def test_a_check_that_takes_for_ever_is_killed_and_the_next_one_runs() -> None:
    with anyio.fail_after(40):
        hasty = SchemaValidator(1.0)
        with pytest.raises(SchemaCheckError, match="takes longer than 1 s"):
            await hasty.check_value(*TAKES_FOR_EVER)
        assert await SchemaValidator().check_value(NAMED, []) is not None


async def test_a_check_can_be_cancelled_at_once(schemas: SchemaValidator) -> None:
    await schemas.check_schema({})  # starts the process
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schemas.check_value, *TAKES_FOR_EVER)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert await schemas.check_value(NAMED, []) is not None


async def test_what_is_nested_too_deeply_cannot_be_checked(schemas: SchemaValidator) -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(SchemaCheckError, match="nested too deeply"):
        await schemas.check_value({}, value)
    with pytest.raises(SchemaCheckError, match="nested too deeply"):
        await schemas.check_value({"$ref": "#"}, 1)
