"""The profile of macOS's sandbox-exec. It has not been tested on macOS."""

from collections.abc import Sequence

PROGRAM = "/usr/bin/sandbox-exec"


def make_arguments(
    argv: Sequence[str],
    *,
    writable: Sequence[str],
    read_only: Sequence[str],
    hidden: Sequence[str],
    network: str,
) -> list[str]:
    """Return the program and its arguments. The last rule of a profile that matches wins.

    Args:
        read_only: what is inside of the writable folders and cannot be changed.
        hidden: what cannot be read either.
        network: "none", "loopback" or "all".
    """
    rules = [
        "(version 1)",
        "(allow default)",
        "(deny file-write*)",
        '(allow file-write* (subpath "/dev"))',
        *[f"(allow file-write* (subpath {_quote(path)}))" for path in writable],
        *[f"(deny file-write* (subpath {_quote(path)}))" for path in read_only],
        *[f"(deny file-read* file-write* (subpath {_quote(path)}))" for path in hidden],
        "(deny signal (target others))",
        "(deny mach-lookup)",
    ]
    if network != "all":
        rules.append("(deny network*)")
    if network == "loopback":
        rules += [
            '(allow network* (local ip "localhost:*"))',
            '(allow network-outbound (remote ip "localhost:*"))',
        ]
    return [PROGRAM, "-p", "\n".join(rules), *argv]


def _quote(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
