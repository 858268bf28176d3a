"""The SDK is loaded by halves, and its absence and other versions are told in a sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from parley_daemon.adapters.mcp.host.sdk import SdkError, load_sdk
try:
    load_sdk()
except SdkError as error:
    print(error)
"""


@pytest.mark.parametrize("content", ["", "import no_such_module_at_all"])
def test_a_version_without_what_is_needed_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "mcp").mkdir()
    (tmp_path / "mcp" / "__init__.py").write_text(content, "utf-8")
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install --upgrade 'parleyd[mcp]'" in told.stdout
