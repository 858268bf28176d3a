"""The types of an installed wheel: what mypy and pyright say about scripts of users, in strict mode.

The wheel is installed into a virtual environment of its own. Its dependencies come from the environment of
the tests through a .pth file, without the editable installation of this project, so nothing is downloaded.
"""

import json
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USER_SCRIPT = Path(__file__).with_name("user_script.py")
PACKAGES = ("parley_protocol", "parley_daemon", "parley_clients")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def user_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the scripts of users, and `venv` in which the wheel is installed."""
    directory = tmp_path_factory.mktemp("user")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=ROOT)
    assert built.returncode == 0, built.stderr
    venv.create(directory / "venv", with_pip=False)
    (site_packages,) = (directory / "venv").glob("lib/python*/site-packages")
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    (directory / "user_script.py").write_text(USER_SCRIPT.read_text("utf-8"), "utf-8")
    (directory / "ollama.py").write_text(provider_example(), "utf-8")
    return directory


def provider_example() -> str:
    """Return the package of docs/providers.md, which brings a provider type."""
    page = (ROOT / "docs" / "providers.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)[0]


def test_the_wheel_marks_its_packages_as_typed(user_directory: Path) -> None:
    (wheel,) = user_directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {f"{package}/py.typed" for package in PACKAGES} <= set(archive.namelist())


@pytest.mark.parametrize("script", ["user_script.py", "ollama.py"])
def test_mypy_accepts_a_script_of_a_user(user_directory: Path, script: str) -> None:
    python = str(user_directory / "venv" / "bin" / "python")
    done = run(
        *(sys.executable, "-m", "mypy", "--strict", "--python-executable", python),
        *("--cache-dir", str(user_directory / "mypy"), script),
        cwd=user_directory,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "Success: no issues found in 1 source file\n"


@pytest.mark.parametrize("script", ["user_script.py", "ollama.py"])
def test_pyright_accepts_a_script_of_a_user(user_directory: Path, script: str) -> None:
    settings = {"typeCheckingMode": "strict", "venvPath": ".", "venv": "venv", "include": [script]}
    (user_directory / "pyrightconfig.json").write_text(json.dumps(settings), "utf-8")
    done = run(sys.executable, "-m", "pyright", "--outputjson", cwd=user_directory)
    report = json.loads(done.stdout)
    assert report["generalDiagnostics"] == []
    assert report["summary"]["filesAnalyzed"] == 1
