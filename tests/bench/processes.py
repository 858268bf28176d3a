"""The processes under measurement, and what the kernel says of them. Linux only: it reads /proc."""

import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from tests.bench.driver import Driver

ROOT = Path(__file__).parents[2]
PARLEYD = Path(sys.executable).with_name("parleyd")
MODEL = "fake:any"
_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """A data directory with the configuration beside it, and the environment that leads there."""

    data_dir: Path
    environment: dict[str, str]


class Process:
    """A child on pipes, with a driver on them."""

    live: "list[Process]" = []  # noqa: RUF012 - all of this benchmark's, to tell them from foreign ones

    def __init__(
        self, command: Sequence[str | Path], environment: dict[str, str], *, say: int = subprocess.DEVNULL
    ) -> None:
        self.started_ns = time.monotonic_ns()
        self.child = subprocess.Popen(
            command,
            bufsize=0,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=say,
        )
        assert self.child.stdin is not None and self.child.stdout is not None
        self.driver = Driver(self.child.stdout.fileno(), self.child.stdin.fileno())
        self.live.append(self)

    @property
    def pid(self) -> int:
        """The process id."""
        return self.child.pid

    @property
    def pss(self) -> float:
        """Proportional set size, in MiB."""
        return read_pss(self.pid)

    @property
    def rss(self) -> float:
        """Resident set size, in MiB."""
        return _field(f"/proc/{self.pid}/status", "VmRSS:")

    @property
    def cpu(self) -> float:
        """CPU seconds used so far, all threads."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICKS

    def close(self) -> None:
        """Close its input and see it end; tell it to, when that is not enough."""
        pipes: list[IO[bytes] | None] = [self.child.stdin, self.child.stderr]
        for pipe in pipes:
            if pipe is not None:
                pipe.close()
        try:
            self.child.wait(1.0)
        except subprocess.TimeoutExpired:
            self.child.terminate()
            try:
                self.child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        assert self.child.stdout is not None
        self.child.stdout.close()
        self.live.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Daemon(Process):
    """`parleyd serve`, with a driver on its Unix socket."""

    def __init__(self, place: Place) -> None:
        super().__init__([PARLEYD, "serve"], place.environment, say=subprocess.PIPE)
        self._sockets: list[socket.socket] = []
        try:
            assert self.child.stderr is not None
            said = self.child.stderr.readline().decode()
            self._path = said.strip().rpartition(" serves on ")[2]
            if not self._path:
                raise RuntimeError(f"parleyd did not start: {said!r}")
            self.listening_ns = time.monotonic_ns()
            self.driver, _ = self.join()
        except BaseException:
            self.close()
            raise

    def join(self) -> tuple[Driver, socket.socket]:
        """Return a driver on a connection of its own, and that connection; both end with the daemon."""
        connection = socket.socket(socket.AF_UNIX)
        self._sockets.append(connection)
        connection.connect(self._path)
        driver = Driver(connection.fileno(), connection.fileno())
        driver.initialize()
        return driver, connection

    def close(self) -> None:
        """Stop it in order."""
        for connection in self._sockets:
            connection.close()
        self.child.terminate()
        super().close()


class Upstream(Process):
    """The fake model server, or another program that keeps its journal."""

    def __init__(self, module: str = "tests.support.providers.server") -> None:
        super().__init__([sys.executable, "-m", module, "--port", "0"], environment())
        assert self.child.stdout is not None
        self.port = int(self.child.stdout.readline())

    def close(self) -> None:
        """Stop it."""
        self.child.terminate()
        super().close()

    def journal(self) -> dict[str, dict[str, Any]]:
        """Return what it saw of each request since the last call, by prompt; see its own journal."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("DELETE", "/__fake/journal")
        seen: list[dict[str, Any]] = json.loads(connection.getresponse().read())
        connection.close()
        return {each["prompt"]: each for each in seen}


class Workshop:
    """What every test needs: places on the disk, the model server, and how thorough to be."""

    def __init__(self, root: Path, runtime: Path, upstream: Upstream, *, quick: bool) -> None:
        self.upstream = upstream
        self.quick = quick
        self._root = root
        self._runtime = runtime
        self._count = 0

    def place(self, upstream: Upstream | None = None) -> Place:
        """Return a new place, empty but for its configuration. `upstream`: another model server."""
        port = (upstream or self.upstream).port
        self._count += 1
        folder = self._root / str(self._count)
        (folder / "data").mkdir(parents=True)
        config = folder / "config.toml"
        config.write_text(
            f'default_model = "{MODEL}"\n[providers.fake]\ntype = "openai-compat"\n'
            f'base_url = "http://127.0.0.1:{port}/v1"\n'
            "[titles]\nenabled = false\n"  # requests of their own, which the peers do not make
        )
        variables = {
            "PARLEY_DATA_DIR": str(folder / "data"),
            "PARLEY_CONFIG": str(config),
            "PARLEY_RUNTIME_DIR": str(self._runtime / str(self._count)),
        }
        return Place(folder / "data", {**environment(), **variables})


def environment() -> dict[str, str]:
    """Return this process's environment, less what would make a server start or run as none does."""
    unwanted = ("PYTHON", "PARLEY_", "HTTP_PROXY", "http_proxy")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


@contextmanager
def workshop(folder: Path, *, quick: bool) -> Generator[Workshop]:
    """Set up; everything is ended and removed again."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=folder))
        runtime = stack.enter_context(tempfile.TemporaryDirectory(prefix="pb-"))
        upstream = Upstream()
        stack.callback(upstream.close)
        yield Workshop(Path(root), Path(runtime), upstream, quick=quick)


class Noise:
    """How much CPU others used meanwhile, in percent of one core."""

    def __init__(self) -> None:
        self._wall, self._busy, self._own = time.monotonic(), _busy(), _own()

    def percent(self) -> float:
        """Return it, since this object was made."""
        wall = time.monotonic() - self._wall
        return 100 * ((_busy() - self._busy) - (_own() - self._own)) / wall


def _busy() -> float:
    user, nice, system, _idle, _wait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def _own() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        time.process_time()
        + ended.ru_utime
        + ended.ru_stime
        + sum(process.cpu for process in Process.live if process.child.poll() is None)
    )


def read_pss(pid: int) -> float:
    """Return the proportional set size of a process, in MiB."""
    return _field(f"/proc/{pid}/smaps_rollup", "Pss:")


def _field(path: str, name: str) -> float:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise LookupError(f"{name} is not in {path}")
