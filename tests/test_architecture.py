"""Invariants of the architecture that no linter checks, and that ARCHITECTURE.md names a test for each."""

import ast
import re
from pathlib import Path

import grimp
from importlinter.application.use_cases import SUCCESS, lint_imports
from importlinter.configuration import configure

ROOT = Path(__file__).parents[1]
SOURCES = ("protocol/parley_protocol", "daemon/parley_daemon", "clients/parley_clients")
MODULES = sorted(path.relative_to(ROOT) for source in SOURCES for path in (ROOT / source).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")

ALLOWED_IN_THE_CORE = {
    "collections",
    "difflib",
    "enum",
    "functools",
    "msgspec",
    "operator",
    "types",
    "typing",
    "unicodedata",
}
TASK_WITHOUT_OWNER = re.compile(r"\.(create_task|ensure_future)\(")
"""A loop's or an asyncio task group's too; ruff knows the functions of the module asyncio alone."""


def parse(module: Path) -> ast.Module:
    return ast.parse((ROOT / module).read_text("utf-8"), str(module))


def test_the_core_imports_only_what_is_allowed() -> None:
    graph = grimp.build_graph("parley_daemon", include_external_packages=True, cache_dir=None)
    core = {"parley_daemon.core"} | graph.find_descendants("parley_daemon.core")
    imported = {name for module in core for name in graph.find_modules_directly_imported_by(module)}
    assert len(core) > 5
    assert imported - core <= ALLOWED_IN_THE_CORE


def test_the_import_contracts_hold() -> None:
    configure()
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), cache_dir=None) == SUCCESS


def test_tasks_are_started_only_in_a_task_group() -> None:
    starts = [
        f"{path}:{number}"
        for path in (*MODULES, *TESTS)
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), 1)
        if TASK_WITHOUT_OWNER.search(line)
    ]
    assert starts == []


BOUNDARIES = {
    "daemon/parley_daemon/daemon.py",  # of the process: the log has what happened
    "daemon/parley_daemon/server/connection/requests.py",  # of a request
    "daemon/parley_daemon/server/transport/server.py",  # of a connection
    "daemon/parley_daemon/engine/chats/feed/event_feed.py",  # of a listener
    "daemon/parley_daemon/engine/turns/run.py",  # of a turn
    "daemon/parley_daemon/engine/agents/calls/call.py",  # of a tool
    "daemon/parley_daemon/engine/context/retrieval.py",  # of an index, which may come from elsewhere
    "daemon/parley_daemon/mcp_server/session.py",  # of a call of another agent
    "daemon/parley_daemon/adapters/tools/packages/loading.py",  # of a package that brings tools
    "daemon/parley_daemon/adapters/providers/registry.py",  # of a package that brings a provider
    "daemon/parley_daemon/adapters/providers/provider.py",  # of the same, when it makes its model
    "daemon/parley_daemon/adapters/providers/model_lists.py",  # of the same, when it lists its models
    "daemon/parley_daemon/adapters/providers/check.py",  # of the same, when it is tried
    "daemon/parley_daemon/adapters/mcp/host/program.py",  # of an MCP server, and of a request to it
    "daemon/parley_daemon/engine/background.py",  # of what is done beside the turns
    "daemon/parley_daemon/adapters/sqlite/threads.py",  # of the store's thread: the asker gets it
    "daemon/parley_daemon/adapters/secrets/system_keyring.py",  # of the keyring's package
    "clients/parley_clients/agents/tool_calls.py",  # of a function that a model calls
}


def test_only_a_boundary_catches_everything() -> None:
    blind = {
        str(module)
        for module in MODULES
        for node in ast.walk(parse(module))
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Name)
        and node.type.id == "Exception"
    }
    assert blind == BOUNDARIES


INVARIANTS = re.findall(r"^\d+\. \*\*(.+?)\*\*(.+)$", ARCHITECTURE, re.MULTILINE)


def test_the_architecture_page_has_its_invariants() -> None:
    assert len(INVARIANTS) >= 8
    assert len(ARCHITECTURE.splitlines()) < 300


def missing_checks(text: str) -> list[str]:
    """Return the tests and make targets that an invariant names and that do not exist."""
    missing: list[str] = []
    for check in re.findall(r"`((?:tests/|make )[^`]+)`", text):
        path, _, function = check.partition("::")
        if check.startswith("make "):
            exists = f"\n{check.removeprefix('make ')}:" in (ROOT / "Makefile").read_text("utf-8")
        else:
            exists = (ROOT / path).exists() and (
                not function or f"def {function}(" in (ROOT / path).read_text("utf-8")
            )
        if not exists:
            missing.append(check)
    return missing


def test_each_invariant_names_tests_that_exist() -> None:
    assert [name for name, text in INVARIANTS if not re.search(r"`(tests/|make )", text)] == []
    assert {name: missing for name, text in INVARIANTS if (missing := missing_checks(text))} == {}


def test_every_folder_of_the_code_map_exists() -> None:
    table = ARCHITECTURE.partition("## The code map")[2].partition("\n## ")[0]
    folders = re.findall(r"^\| `([\w./-]+/)` \|", table, re.MULTILINE)
    assert len(folders) >= 8
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
