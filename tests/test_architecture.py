"""The shape of the house: which way imports point, what is banned, and that each invariant has its test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
from importlinter.application.use_cases import SUCCESS, lint_imports
from importlinter.configuration import configure

ROOT = Path(__file__).parents[1]
SOURCES = ("protocol/parley_protocol", "daemon/parley_daemon", "clients/parley_clients")
MODULES = sorted(path.relative_to(ROOT) for source in SOURCES for path in (ROOT / source).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")

HELP = "demo.py"  # its docstring is what the demo says of itself
ALLOWED_IN_THE_CORE = {"collections", "dataclasses", "enum", "functools", "typing"}
LEFT_OPEN = re.compile(r"\b(TODO|FIXME|XXX)\b")


def tree(module: Path) -> ast.Module:
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


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_opens_with_a_short_docstring(module: Path) -> None:
    text = ast.get_docstring(tree(module))
    assert text, "it has none"
    assert module.name == HELP or len(text.splitlines()) <= 5
    assert text.splitlines()[0].endswith((".", ":"))


def banned(module: Path) -> Iterator[str]:
    """Yield what a module does that none may do."""
    for node in ast.walk(tree(module)):
        match node:
            case ast.Attribute(attr="create_task" | "ensure_future" as name):
                yield f"line {node.lineno}: {name}: start tasks in an anyio task group"
            case ast.Call(func=ast.Name(id="print")) if "parley_daemon" in module.parts:
                yield f"line {node.lineno}: print: standard output is the protocol's"
            case ast.ExceptHandler(type=None):
                yield f"line {node.lineno}: a bare except"
            case ast.ImportFrom(names=names) if any(one.name == "*" for one in names):
                yield f"line {node.lineno}: import *"
            case _:
                pass


@pytest.mark.parametrize("module", [*MODULES, *TESTS], ids=str)
def test_a_module_does_nothing_that_is_banned(module: Path) -> None:
    assert list(banned(module)) == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_leaves_nothing_open(module: Path) -> None:
    lines = (ROOT / module).read_text("utf-8").splitlines()
    assert [line for line in lines if LEFT_OPEN.search(line)] == []


BOUNDARIES = {
    "daemon/parley_daemon/daemon.py",  # of the process: the log has what happened
    "daemon/parley_daemon/server/connection/requests.py",  # of a request
    "daemon/parley_daemon/server/transport/server.py",  # of a connection
    "daemon/parley_daemon/engine/chats/event_feed.py",  # of a listener
    "daemon/parley_daemon/engine/turns/run.py",  # of a turn
    "daemon/parley_daemon/adapters/providers/registry.py",  # of a package that brings a provider
    "daemon/parley_daemon/adapters/providers/provider.py",  # of the same, when it makes its model
    "daemon/parley_daemon/adapters/providers/model_lists.py",  # of the same, when it lists its models
    "daemon/parley_daemon/adapters/providers/check.py",  # of the same, when it is tried
    "daemon/parley_daemon/engine/background.py",  # of what is done beside the turns
    "daemon/parley_daemon/adapters/sqlite/threads.py",  # of the store's thread: the asker gets it
    "daemon/parley_daemon/adapters/secrets/system_keyring.py",  # of the keyring's package
}


def test_only_a_boundary_catches_everything() -> None:
    blind = {
        str(module)
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Name)
        and node.type.id == "Exception"
    }
    assert blind == BOUNDARIES


INVARIANTS = re.findall(r"^\d+\. \*\*(.+?)\*\*(.+)$", ARCHITECTURE, re.MULTILINE)


def test_the_architecture_page_has_its_invariants() -> None:
    assert len(INVARIANTS) >= 8
    assert len(ARCHITECTURE.splitlines()) < 300


@pytest.mark.parametrize(("name", "text"), INVARIANTS, ids=[name for name, _ in INVARIANTS])
def test_an_invariant_names_what_checks_it(name: str, text: str) -> None:
    checks = re.findall(r"`((?:tests/|make )[^`]+)`", text)
    assert checks, f"{name}: no test is named"
    for check in checks:
        if check.startswith("make "):
            assert f"\n{check.removeprefix('make ')}:" in (ROOT / "Makefile").read_text("utf-8")
            continue
        path, _, function = check.partition("::")
        assert (ROOT / path).exists(), f"{name}: there is no {path}"
        assert not function or f"def {function}(" in (ROOT / path).read_text("utf-8")


def test_every_folder_of_the_code_map_exists() -> None:
    table = ARCHITECTURE.partition("## The code map")[2].partition("\n## ")[0]
    folders = re.findall(r"^\| `([\w./-]+/)` \|", table, re.MULTILINE)
    assert len(folders) >= 8
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
