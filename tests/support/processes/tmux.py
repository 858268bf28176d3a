"""A terminal that lays out its lines anew when its size changes: tmux, where it is installed."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import pytest


class Tmux:
    """A tmux server of its own with one window."""

    def __init__(self, program: str, env: Mapping[str, str]) -> None:
        self._command = [program, "-L", f"parley-{uuid.uuid4().hex[:8]}", "-f", "/dev/null"]
        self._env = env

    def run(self, *words: str) -> str:
        """Run a command of tmux; return what it prints."""
        done = subprocess.run(
            [*self._command, *words], env=self._env, capture_output=True, text=True, check=True
        )
        return done.stdout

    def wait_for(self, text: str, seconds: float = 30) -> str:
        """Wait until the screen, or what has scrolled away, has the text; return all of it."""
        deadline = time.monotonic() + seconds
        while text not in (screen := self.run("capture-pane", "-p", "-S", "-200")):
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)  # each look starts a process
        return screen

    def kill(self) -> None:
        """End the server."""
        subprocess.run([*self._command, "kill-server"], env=self._env, check=False)


@contextmanager
def tmux_server(env: Mapping[str, str]) -> Generator[Tmux]:
    """Provide a tmux server; skip the test if tmux is not installed."""
    program = shutil.which("tmux")
    if program is None:
        pytest.skip("there is no tmux here")
    tmux = Tmux(program, env)
    yield tmux
    tmux.kill()
