"""What importing the package costs: the light modules stay light, and building models waits for their use."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from parley_protocol.version import PROTOCOL_VERSION, VERSION

HEAVY = ("pydantic", "platformdirs", "asyncio", "anyio", "typing_extensions", "importlib.metadata", "logging")


def run(code: str) -> str:
    """Run code in an interpreter of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=50
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["", ".errors", ".framing", ".runtime", ".version", ".fold"])
def test_a_light_module_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, parley_protocol{module}\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    assert run(code) == ""


def test_the_places_are_told_without_pydantic() -> None:
    code = (
        "import sys\nfrom parley_protocol import runtime\n"
        "runtime.socket_path(runtime.data_dir())\nruntime.config_path()\nprint('pydantic' in sys.modules)"
    )
    assert run(code) == "False"


def test_importing_the_method_table_builds_no_model() -> None:
    code = (
        "from parley_protocol.methods import METHODS\nfrom parley_protocol.models.base import Wire\n"
        "def below(m):\n    return [m, *[n for s in m.__subclasses__() for n in below(s)]]\n"
        "print([m.__name__ for m in below(Wire) if m.__pydantic_complete__])"
    )
    assert run(code) == "[]"


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == VERSION
    assert PROTOCOL_VERSION == 1


def test_an_unreleased_version_says_so() -> None:
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## \[(.+?)\] - (.+)$", changelog, re.MULTILINE)
    assert newest is not None
    number, released = newest.groups()
    assert (f"{number}.dev0" if released == "Unreleased" else number) == VERSION
