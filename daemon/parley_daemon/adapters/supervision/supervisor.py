"""The program that starts a command, outlives it, and ends what it leaves behind. Not imported by the daemon.

Theory of operation. `python -I -S` runs `run` in an interpreter without any other modules, which takes 10 ms.
Standard input is a socket to the daemon:

1. The daemon sends what to do (`marshal`, with its length before it).
2. The supervisor forks. The child restricts itself (see `landlock`) and executes the command; the supervisor
   itself stays outside of the restriction, so that the command cannot signal it.
3. When the command has ended, the supervisor sends `exit STATUS LEFT`: LEFT is 1 if processes of the command
   still run. As a subreaper it gets all of them as children, however they detach themselves.
4. When the daemon closes its end, or dies, the supervisor kills everything that is left, and ends. A command
   with `grace` first gets time to end by itself (its input has ended, too), and then SIGTERM and more time.

Every command gets a process like this one, so that no process survives the daemon's end, even by SIGKILL.
"""

import _thread
import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these takes as long as the interpreter's start
    from collections.abc import Callable
    from typing import Any

_signal: "Any" = __import__("_signal")  # the module signal makes enums, which takes milliseconds

CHANNEL = 0
"""The descriptor of the socket to the daemon."""

_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36
_KILL_ROUNDS = 1000
_ROUND_MS = 5


def run(call: "Callable[..., int]", restrict: "Callable[..., None]") -> None:
    """Run the command that the daemon sends, then end the process.

    The order has `argv` with an absolute path, `cwd`, `environment`, and `restrict`: whether `restrict` is
    called, with `hidden`, `writable` and `network`. It may have `input`, the descriptor of the command's
    standard input, which is empty otherwise; `grace`, the seconds before SIGTERM and after it when the daemon
    closes the socket, 0 by default; and `tells_pid`: whether `pid PID` is sent at the start.
    """
    order = _receive()
    if sys.platform == "linux":
        call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    _signal.signal(_signal.SIGCHLD, _ignore)
    _signal.set_wakeup_fd(woken)
    child = os.fork()
    if child == 0:
        _become_command(order, restrict)
    if order.get("tells_pid"):
        os.write(CHANNEL, f"pid {child}\n".encode("ascii"))
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1)  # the pipe for the output is to end with the command
    os.dup2(null, 2)
    if "input" in order:
        os.close(order["input"])
    has_ended = _supervise(child, wake)
    if "grace" in order:
        _end_gently(child, wake, 0 if has_ended else order["grace"][0], order["grace"][1])
    _kill_all(child)
    os._exit(0)


def _ignore(*_: object) -> None:
    """Do nothing: the byte in the pipe wakes the supervisor up."""


def _receive() -> "dict[str, Any]":
    size = int.from_bytes(_read(4), "little")
    return marshal.loads(_read(size))


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(CHANNEL, size - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data


def _become_command(order: "dict[str, Any]", restrict: "Callable[..., None]") -> None:
    step = "it cannot be started"
    try:
        os.setsid()
        os.dup2(order["input"] if "input" in order else os.open("/dev/null", os.O_RDONLY), CHANNEL)
        os.closerange(3, 256)
        _signal.set_wakeup_fd(-1)
        for number in (_signal.SIGCHLD, _signal.SIGPIPE, _signal.SIGXFSZ):
            _signal.signal(number, _signal.SIG_DFL)
        step = f"{order['cwd']} cannot be entered"
        os.chdir(order["cwd"])
        if order["restrict"]:
            step = "the sandbox cannot be set up"
            restrict(order["hidden"], order["writable"], order["network"])
        step = f"{order['argv'][0]} cannot be started"
        os.execve(order["argv"][0], order["argv"], order["environment"])
    except BaseException as error:  # noqa: BLE001 - the forked process must not go on, whatever happens
        os.write(2, f"parleyd: {step}: {error}\n".encode("utf-8", "replace"))
        os._exit(126)


def _supervise(child: int, wake: int) -> bool:
    """Return when the daemon has closed the socket, or when nothing of the command runs any more.

    Returns whether the command itself has ended.
    """
    poll = select.poll()
    poll.register(CHANNEL, select.POLLIN | select.POLLHUP)
    poll.register(wake, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == CHANNEL:
                return child == 0  # the daemon sends nothing more: this is the end
            _drain(wake)
        status, is_left = _reap(child)
        if status is not None:
            os.write(CHANNEL, f"exit {status} {int(is_left)}\n".encode("ascii"))
            child = 0
            if not is_left:
                return True


def _drain(wake: int) -> None:
    try:
        os.read(wake, 512)
    except BlockingIOError:
        pass  # read already


def _end_gently(child: int, wake: int, before: float, after: float) -> None:
    """Wait until everything has ended by itself, then by SIGTERM."""
    if not _wait_for_all(wake, before):
        _signal_all(child, _signal.SIGTERM)
        _wait_for_all(wake, after)


def _wait_for_all(wake: int, seconds: float) -> bool:
    """Return whether everything has ended within some seconds."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    end = time.monotonic() + seconds
    while _reap(0)[1]:
        left = end - time.monotonic()
        if left <= 0:
            return False
        poll.poll(left * 1000)
        _drain(wake)
    return True


def _reap(child: int) -> tuple[int | None, bool]:
    """Reap what has ended. Return the exit status of the child if it has ended, and whether any is left."""
    status = None
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, False
        if pid == 0:
            return status, True
        if pid == child:
            ended = os.waitstatus_to_exitcode(code)
            status = ended if ended >= 0 else 128 - ended


def _kill_all(child: int) -> None:
    """Kill all processes below this one, until there are none."""
    pause = _thread.allocate_lock()
    pause.acquire()
    for _ in range(_KILL_ROUNDS):
        _signal_all(child, _signal.SIGKILL)
        if not _reap(0)[1]:
            return
        pause.acquire(timeout=_ROUND_MS / 1000)


def _signal_all(child: int, number: int) -> None:
    for pid in find_descendants(os.getpid()) if sys.platform == "linux" else _group(child):
        try:
            os.kill(pid, number)
        except OSError:
            pass  # it has ended


def _group(child: int) -> list[int]:
    """Return what `kill` takes for the process group of a command, where processes cannot be listed."""
    return [-child] if child else []


def find_descendants(root: int) -> dict[int, str]:
    """Return the processes below a process that have not ended, with their names."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            descriptor = os.open(f"/proc/{entry}/stat", os.O_RDONLY)
        except OSError:
            continue  # it has ended
        try:
            text = os.read(descriptor, 1024).decode("utf-8", "replace")
        except OSError:
            continue
        finally:
            os.close(descriptor)
        head, _, rest = text.rpartition(")")
        fields = rest.split()
        if len(fields) < 2:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
        if fields[0] not in "ZX":
            names[int(entry)] = head.partition("(")[2]
    found: dict[int, str] = {}
    waiting = [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            waiting.append(pid)
            if pid in names:
                found[pid] = names[pid]
    return found
