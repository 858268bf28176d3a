"""docs/tools.md: the package of its text is built, installed and used; broken ones harm nobody."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_daemon.adapters.tools.packages.loading import ENTRY_POINT_GROUP
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer

pytestmark = pytest.mark.slow

Json = dict[str, Any]
PAGE = (Path(__file__).parents[2] / "docs" / "tools.md").read_text("utf-8")
PROJECT, _RULES = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
MODULE, TESTS, MAKE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
CONFIG = "titles.enabled = false\n"


def build(folder: Path, target: Path) -> None:
    """Build the package of the page as its reader does, and unpack the wheel into a folder."""
    folder.mkdir()
    target.mkdir()
    for name, text in (("pyproject.toml", PROJECT), ("parleyd_tables.py", MODULE), ("test_tables.py", TESTS)):
        (folder / name).write_text(text, "utf-8")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def install_broken(target: Path, **modules: str) -> None:
    """Put packages into a folder, each with one module whose name TOOLS is its entry point."""
    for name, source in modules.items():
        (target / f"{name}.py").write_text(source, "utf-8")
        info = target / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{name} = {name}:TOOLS\n", "utf-8")


async def ask(peer: Peer, project: Path, prompt: str, mode: str = "edits") -> tuple[str, list[Json]]:
    """Ask the demo model in a chat of a folder; return the chat's id, and the parts of all messages."""
    settings: Json = {"agent": {"mode": mode, "interactive": False}}
    context = {"repositories": [project.as_uri()]}
    chat_id = await peer.new_chat(model="demo:demo", settings=settings, context=context)
    answer = await peer.result("chat/ask", {"chatId": chat_id, "content": prompt})
    assert answer["outcome"] == "completed", answer
    return chat_id, [part for message in answer["messages"] for part in message["content"]]


def results(parts: list[Json]) -> list[tuple[str, Any]]:
    return [(part["outcome"], part["result"]) for part in parts if part["type"] == "tool-result"]


async def test_the_package_of_the_page_is_built_and_works_in_a_daemon(tmp_path: Path) -> None:
    target, project = tmp_path / "site", tmp_path / "project"
    build(tmp_path / "parleyd-tables", target)
    project.mkdir()
    (project / "people.csv").write_text("name,age\nAda,36\nAlan,9\n")
    env = {"PYTHONPATH": str(target)}
    async with running_daemon(config=CONFIG, env=env) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        listed = {one["name"]: one for one in (await peer.result("tool/list"))["tools"]}
        sort = '/tool sort_table {"path": "people.csv", "column": "age"}'
        chat_id, parts = await ask(peer, project, sort)
        assert results(parts) == [("ok", "2 rows are sorted by age.")]
        assert (project / "people.csv").read_text() == "name,age\nAlan,9\nAda,36\n"
        (made,) = await peer.result("chat/checkpoints", {"chatId": chat_id})
        await peer.result("chat/restore", {"chatId": chat_id, "checkpointId": made["id"]})
        assert (project / "people.csv").read_text() == "name,age\nAda,36\nAlan,9\n"
        (project / "outside.csv").symlink_to("/etc/hostname")
        calls = (
            '/tool table_summary {"path": "people.csv"}',
            '/tool sort_table {"path": "no.csv", "column": "x"}',
            '/tool sort_table {"path": "outside.csv", "column": "x"}',
            '/tool sort_table {"column": 1}',
        )
        wanted = "\n/then\n".join(calls)
        _, parts = await ask(peer, project, wanted)
        summary, missing, outside, wrong = results(parts)
        assert summary == ("ok", {"rows": 2, "columns": ["name", "age"], "first": ["Ada", "36"]})
        assert missing[0] == "failed"
        assert "no.csv does not exist" in missing[1]
        assert outside[0] == "denied"
        assert wrong[1].startswith("The arguments of sort_table are invalid:")
        rule = {"effect": "deny", "tool": "sort_table", "scope": "always"}
        await peer.result("permission/add", rule)
        assert results((await ask(peer, project, sort))[1])[0][0] == "denied"
        doctor = [sys.executable, "-m", "parley_daemon", "doctor"]
        said = (await anyio.run_process(doctor, env=daemon.env, check=False)).stdout.decode()
    assert (listed["sort_table"]["source"], listed["sort_table"]["kind"]) == (
        "package:parleyd-tables",
        "edit",
    )
    assert listed["sort_table"]["available"]
    assert "ok  tools          parleyd-tables 0.1.0: sort_table, table_summary" in said
    assert "ok  tools          parleyd-tables 0.1.0: sort_table, table_summary" in PAGE


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    build(tmp_path / "parleyd-tables", tmp_path / "site")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path / "parleyd-tables", capture_output=True, text=True, check=False
    )
    assert "2 passed" in done.stdout, done.stdout


async def test_the_class_of_the_page_is_asked_about_as_a_command(tmp_path: Path) -> None:
    target, project = tmp_path / "site", tmp_path / "project"
    target.mkdir()
    project.mkdir()
    (project / "Makefile").write_text("test:\n\t@echo it works\n")
    install_broken(target, makes=f"{MAKE}\nTOOLS = MAKE_TARGET\n")
    make = '/tool make_target {"target": "test"}'
    env = {"PYTHONPATH": str(target)}
    async with running_daemon(config=CONFIG, env=env) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        assert results((await ask(peer, project, make, "auto"))[1])[0][0] == "denied"  # it would be asked
        rule = {"effect": "allow", "tool": "make_target", "command": "make test", "scope": "always"}
        await peer.result("permission/add", rule)
        assert results((await ask(peer, project, make, "ask"))[1]) == [("ok", "it works\n")]
        plan = results((await ask(peer, project, make, "plan"))[1])
        assert plan[0][0] == "denied"
        deploy = results((await ask(peer, project, make.replace("test", "deploy"), "ask"))[1])
        assert deploy == [("failed", "The arguments of make_target are invalid: deploy is for people.")]


async def test_broken_packages_are_named_and_stop_nothing(tmp_path: Path) -> None:
    target, project = tmp_path / "site", tmp_path / "project"
    build(tmp_path / "parleyd-tables", target)
    project.mkdir()
    (project / "people.csv").write_text("name,age\nAda,36\n")
    faulty = MODULE.replace(
        'header, rows = parse(run.read_text(args.path))\n    return {"rows"', 'return {1: {}["x"], "rows"'
    )
    assert faulty != MODULE
    install_broken(
        target,
        ends="import os, sys\nsys.exit(1)\n",
        gone="from parley_daemon.tool_api import no_such_name\n",
        faulty=faulty.replace("table_summary", "faulty_summary").replace("sort_table", "sort_faulty"),
        hangs="import threading\nthreading.Event().wait()\n",
        run=faulty.replace("def table_summary", "def run").replace("[table_summary, sort_table]", "run"),
    )
    env = {"PYTHONPATH": str(target)}
    async with running_daemon(config=CONFIG, env=env) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(model="demo:demo")
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
        assert answer["outcome"] == "completed"
        assert not re.search(r"ends|gone|hangs", daemon.stderr)  # nothing is loaded for a chat without tools
        calls = (
            '/tool table_summary {"path": "people.csv"}\n/then\n/tool faulty_summary {"path": "people.csv"}'
        )
        _, parts = await ask(peer, project, calls)
        fine, fault = results(parts)
        assert fine[0] == "ok"
        assert fault == (
            "failed",
            "faulty_summary has failed because of a fault in the package faulty. The daemon's log has the"
            " details.",
        )
        listed = {one["name"]: one for one in (await peer.result("tool/list"))["tools"]}
        reasons = {
            name: one["reason"]
            for name, one in listed.items()
            if name in ("ends", "gone", "hangs", "run-run")
        }
        assert (
            reasons["ends"]
            == "The entry point 'ends' of the package ends 1.0 cannot be loaded: SystemExit: 1"
        )
        assert "cannot import name 'no_such_name'" in reasons["gone"]
        assert reasons["hangs"] == "the package hangs 1.0 is being imported, which takes unusually long."
        assert "parleyd has a tool of this name" in reasons["run-run"]
        assert listed["run"]["source"] == "builtin"
        log = (Path(daemon.data_dir) / "log" / "parleyd.log").read_text("utf-8")
        assert "SystemExit: 1" in log
        assert os.path.exists(f"/proc/{daemon.pid}") or sys.platform != "linux"
        assert await daemon.stop() == 0
