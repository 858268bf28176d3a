"""What becomes of the processes of a command, whatever happens to the daemon."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.sandbox import starter
from tests.support.sandbox.marked import wait_for_processes
from tests.support.sandbox.ordinary_user import find_bubblewrap, skip_without

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["bwrap", "landlock", "none"])
def test_no_process_outlives_a_daemon_that_is_killed(kind: str, tmp_path: Path) -> None:
    skip_without(kind)
    mark = f"mark-{uuid4()}"
    idle = f"python3 -c 'import time; time.sleep(600)' {mark}"
    command = f"{idle} & setsid {idle} & (setsid nohup {idle} &) & trap '' TERM HUP; echo begun; {idle}"
    environment = {**os.environ, "PATH": f"{find_bubblewrap() or ''}:{os.environ['PATH']}"}
    program = [sys.executable, starter.__file__, kind, str(tmp_path), command]
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == b"begun\n"
        wait_for_processes(mark, 4)
        daemon.send_signal(signal.SIGKILL)
    wait_for_processes(mark, 0)
