"""The tools of all packages: each broken one is named with its reason, and the others are there."""

import threading
from pathlib import Path

import anyio

from parley_daemon.adapters.tools.packages import loading
from parley_daemon.adapters.tools.packages.family import PackageTools
from parley_daemon.adapters.tools.packages.loading import Offer, load_offers
from tests.support.engine.rig import InProcessSchemas
from tests.support.tools.package_rig import PackageRig, offering

TOOL = """
import msgspec
from parley_daemon.tool_api import tool

class Nothing(msgspec.Struct): ...

def make(name, **options):
    options = {"kind": "read", "description": "Does " + name, "name": name, **options}
    return tool(**options)(lambda args: name) if "input_schema" in options else tool(**options)(named(name))

def named(name):
    def function(args: Nothing): return name
    return function
"""
MODULES = {
    "good": f"{TOOL}\nTOOLS = [make('one'), make('two')]",
    "raises": "raise RuntimeError('no\\nluck')",
    "ends": "import sys; sys.exit(3)",
    "needs": "import a_module_that_is_not_there",
    "nameless": "OTHER = 1",
    "number": "TOOLS = 7",
    "function": "def TOOLS(): ...",
    "cls": "class TOOLS: ...",
    "empty": "TOOLS = []",
    "mixed": f"{TOOL}\nTOOLS = [make('three'), make('one'), make('run'), make('bad name'), make('mcp__x'),\n"
    "    make('odd', kind='harmless'), make('slow', timeout_ms=0),\n"
    "    make('array', input_schema={'type': 'array'}),\n"
    "    make('wrong', input_schema={'type': 'object', 'properties': {'n': {'type': 'number!'}}})]",
}


async def loaded(rig: PackageRig, offers: list[Offer], **options: float) -> PackageTools:
    return PackageTools(rig.services, InProcessSchemas(), ["run"], find=lambda: offers, **options)


async def test_each_broken_package_is_named_and_the_others_are_there(tmp_path: Path) -> None:
    rig = PackageRig(tmp_path / "home")
    with offering(tmp_path / "modules", MODULES) as offers:
        family = await loaded(rig, offers)
        tools = await family.tools()
        assert await family.tools() is tools
    usable = {tool.spec.name: tool for tool in tools if tool.spec.problem is None}
    assert sorted(usable) == ["one", "three", "two"]
    inspection = await usable["one"].inspect({}, rig.context)
    assert (await usable["one"].run({}, rig.context, inspection, rig.monitor, None)).result == "one"
    assert usable["one"].spec.source == "package:good"
    reasons = {tool.spec.name: tool.spec.problem or "" for tool in tools if tool.spec.problem is not None}
    expected = {
        "of-raises": "The entry point 'of-raises' of the package raises cannot be loaded: RuntimeError: no",
        "of-ends": "cannot be loaded: SystemExit: 3",
        "of-needs": "No module named 'a_module_that_is_not_there'",
        "of-nameless": "has no attribute 'TOOLS'",
        "of-number": "The tool 'of-number' of the package number cannot be used: it is of the type int.",
        "of-function": "it is a function: put @tool(...) above it",
        "of-cls": "it is the class TOOLS: give an object of it",
        "of-empty": "The entry point 'of-empty' of the package empty has no tools.",
        "mixed-one": "there is one of this name already (package:good)",
        "mixed-run": "parleyd has a tool of this name",
        "bad_name": "a name has 1 to 64 letters",
        "mcp__x": "names with mcp__ are those of MCP servers",
        "odd": "its kind 'harmless' is none of",
        "slow": "its timeout_ms is not between 1 and 600,000",
        "array": 'its schema has another type than "object"',
        "wrong": "its schema is invalid at properties.n.type",
    }
    assert reasons.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in reasons[name], name


async def test_an_import_that_hangs_is_named_and_its_tools_come_later(tmp_path: Path) -> None:
    rig = PackageRig(tmp_path / "home")
    modules = {"hanging": f"import builtins; builtins.release_import.wait(60)\n{TOOL}\nTOOLS = make('late')"}
    import builtins

    release = builtins.release_import = threading.Event()  # pyright: ignore[reportAttributeAccessIssue]
    with offering(tmp_path / "modules", {**modules, "good": f"{TOOL}\nTOOLS = make('one')"}) as offers:
        family = await loaded(rig, offers, wait_seconds=0.05)
        with anyio.fail_after(30):
            (first, _) = await family.tools()
            assert first.spec.name == "of-hanging"
            assert first.spec.problem == (
                "the package hanging is being imported, which takes unusually long."
            )
            release.set()
            (loader,) = [one for one in threading.enumerate() if one.name == "tools of packages"]
            await anyio.to_thread.run_sync(loader.join)
            assert {tool.spec.name for tool in await family.tools()} == {"late", "one"}


def test_an_import_that_hangs_does_not_hold_up_the_next_package(tmp_path: Path) -> None:
    import builtins

    release = builtins.release_import = threading.Event()  # pyright: ignore[reportAttributeAccessIssue]
    source = "import builtins; builtins.release_import.wait(60); TOOLS = []"
    modules = {"stuck": source, "fine": f"{TOOL}\nTOOLS = make('one')"}
    with offering(tmp_path / "modules", modules) as (stuck, fine):
        load_offers([stuck, fine], lambda: None, seconds=0.01)
        assert (stuck.is_loaded, fine.is_loaded) == (False, True)
        release.set()


def test_nothing_is_offered_here() -> None:
    assert loading.find_offers() == []  # what the tests of other packages rest on
