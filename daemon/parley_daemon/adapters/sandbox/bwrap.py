"""The command line of bubblewrap, which gives a command its own view of the file system.

Theory of operation. The view begins as the whole system, read-only. Over it lie, from the outermost folder to
the innermost: what the command may write, what it must not change inside of that, and empty folders where
secrets and the sockets of services are. The daemon's own folders come last, so that nothing uncovers them.

The command has its own process ids, so that the kernel ends all its processes with the first one, and a
network with a loopback of its own. bubblewrap dies with the daemon, and its processes with it. A shell inside
starts the command; it reports the exit status and whether processes are left, in the words of the supervisor
(see `supervisor`), and then waits until the daemon has listed those.
"""

import os
from collections.abc import Sequence

from parley_daemon.adapters.sandbox.places import SYSTEM_LINKS

# Standard input is the socket to the daemon. The traps are reset in the command.
_REPORTER = """exec 3<&0 </dev/null 4>&2 2>/dev/null
trap : TERM INT HUP
(exec "$@" 2>&4 3<&- 4>&-)
status=$?
exec 4>&- 1>&2
set -- /proc/[0-9]*
if [ $# -gt 2 ]; then echo "exit $status 1" >&3; read -r end <&3; else echo "exit $status 0" >&3; fi
exit $status
"""


def make_arguments(
    program: str,
    argv: Sequence[str],
    *,
    cwd: str,
    scratch: str,
    readable: Sequence[str],
    writable: Sequence[str],
    read_only: Sequence[str],
    kept_apart: Sequence[str],
    hidden: Sequence[str],
    own: Sequence[str],
    network: bool,
) -> list[str]:
    """Return the program and its arguments.

    Args:
        scratch: the folder that the command sees as `/tmp`.
        readable: folders that it sees even below `/tmp`.
        read_only: what is inside of the writable folders and cannot be changed.
        kept_apart: folders inside of the writable ones that can be changed, but neither renamed nor removed.
        hidden: files and folders that the command sees empty.
        own: the same for those of the daemon, and for what rules deny. Nothing uncovers them.
    """
    layers = [("--ro-bind", root, root) for root in readable if root not in writable]
    layers += [("--bind", root, root) for root in writable]
    layers += [("--bind", path, path) for path in kept_apart]
    layers += [("--ro-bind", path, path) for path in read_only]
    layers += [("--bind", scratch, path) for path in ("/tmp", "/var/tmp") if os.path.isdir(path)]
    layers += [_hide(path) for path in hidden]
    layers += [("--ro-bind", path, path) for path in SYSTEM_LINKS if os.path.isdir(path)]
    layers.sort(key=lambda layer: layer[-1].rstrip("/").count("/"))  # stable: see the order above
    arguments = [
        *(program, "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL"),
        *([] if network else ["--unshare-net"]),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
    ]
    covered = [path for path in own if os.path.lexists(path)]
    for layer in (*layers, *[_hide(path) for path in covered]):
        arguments += layer
    for path in (*hidden, *covered):
        arguments += ("--remount-ro", path) if os.path.isdir(path) else ()
    return [*arguments, "--chdir", cwd, "--", "/bin/sh", "-c", _REPORTER, "sh", *argv]


def _hide(path: str) -> tuple[str, ...]:
    if os.path.isdir(path):
        return ("--perms", "0700", "--tmpfs", path)
    return ("--ro-bind", "/dev/null", path)
