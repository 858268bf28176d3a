"""A project and the tools for it."""

from pathlib import Path

import pytest

from tests.support.tools.file_rig import FileRig


@pytest.fixture
def rig(tmp_path: Path) -> FileRig:
    return FileRig(tmp_path / "home")
