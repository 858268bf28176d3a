"""The pages of the project: their links lead somewhere, and the files that they name exist."""

import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

ROOT = Path(__file__).parents[1]
PACKAGES = ("protocol/parley_protocol", "daemon/parley_daemon", "clients/parley_clients")
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/agents.md",
    "docs/configuration.md",
    "docs/context.md",
    "docs/performance.md",
    "docs/permissions.md",
    "docs/providers.md",
    "docs/mcp-server.md",
    "docs/security.md",
    "docs/tools.md",
    "docs/undo.md",
    "clients/README.md",
)
FILE = re.compile(r"`([\w./-]+(?:\.(?:py|md|toml|ts|json)|/))(?:::(\w+))?`")
NAMED_BY_PATH = ("tests/", "docs/", "daemon/", "protocol/", "clients/", "editor-integrations/")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    for target, _, anchor in (
        link.partition("#") for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text("utf-8"))
    ):
        if target.startswith("https://"):
            continue
        linked = (ROOT / page).parent / target if target else ROOT / page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as the usual hosts of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_by_its_path_exists(page: str) -> None:
    for path, function in FILE.findall((ROOT / page).read_text("utf-8")):
        if not path.startswith(NAMED_BY_PATH):
            continue
        assert (ROOT / path).exists(), path
        assert not function or f"def {function}(" in (ROOT / path).read_text("utf-8"), f"{path}::{function}"


def test_every_module_that_the_architecture_page_names_exists() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    code_map = page.partition("## The code map")[2].partition("\n## ")[0]
    for folder, row in re.findall(r"^\| `([\w./-]+/)` \|(.*)$", code_map, re.MULTILINE):
        for module in re.findall(r"`(\w+(?:\.py|/))`", row):
            assert (ROOT / folder / module).exists() or (ROOT / folder).parent.joinpath(module).exists(), (
                module
            )
    for path in re.findall(r"`(\w+/[\w./]+)`", page.replace(code_map, "")):
        assert any((ROOT / package / path).exists() for package in ("", *PACKAGES)), path


def test_every_folder_of_the_source_has_a_row_in_the_code_map() -> None:
    rows = re.findall(r"^\| `([\w./-]+)/` \|", (ROOT / "ARCHITECTURE.md").read_text("utf-8"), re.MULTILINE)
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {str(folder.relative_to(ROOT)) for folder in folders} <= set(rows)


# ------------------------------------------------------------- CONTRIBUTING.md, how to debug

DEBUGGING = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## Debugging")[2]


def test_the_script_for_a_request_by_hand_prints_the_result(shared_daemon: DaemonProcess) -> None:
    [(script, method, params)] = re.findall(
        r"<<'EOF'\n(.*?)^EOF\npython \S+ (\S+) '(.*?)'$", DEBUGGING, re.MULTILINE | re.DOTALL
    )
    done = subprocess.run(
        [sys.executable, "-c", script, method, params],
        env=shared_daemon.env,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert json.loads(done.stdout).keys() == {"chats", "nextCursor", "total"}


async def test_the_queries_of_the_store_run_on_a_real_one(shared_daemon: DaemonProcess) -> None:
    queries = re.findall(r'^sqlite3 -readonly \S+ "(.*)"$', DEBUGGING, re.MULTILINE)
    assert len(queries) >= 2
    async with unix_peer(shared_daemon.socket) as peer:  # its store is open when it answers
        await peer.initialize()
        await peer.result("chat/list", {})
    connection = sqlite3.connect(f"file:{shared_daemon.data_dir}/parley.db?mode=ro", uri=True)
    try:
        for query in queries:
            connection.execute(query).fetchall()
    finally:
        connection.close()
