"""The daemon's environment is hidden from other processes of its user."""

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux"),
]

# As root, it becomes an ordinary user first, which hides it for another reason: this is undone.
PROGRAM = """
import os, subprocess, _posixsubprocess, _ctypes
from parley_daemon.adapters.supervision.hiding import hide_process
from parley_daemon.adapters.supervision.landlock import call
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    call("prctl", 4, 1, 0, 0, 0)
def is_found():
    done = subprocess.run(["/bin/cat", f"/proc/{os.getpid()}/environ"], env={}, capture_output=True)
    return b"canary" in done.stdout
before = is_found()
hide_process({"PARLEY_ALLOW_DEBUGGER": "1"})
allowed = is_found()
hide_process({})
print(before, allowed, is_found())
"""


def test_no_process_of_the_user_reads_the_environment_unless_a_debugger_is_allowed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "SOME_API_KEY": "canary"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "True True False\n"
