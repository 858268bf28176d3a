"""Restricts the calling process by Landlock and a system call filter. Part of the supervisor's program.

Theory of operation. Landlock allows and never forbids: what no rule names is refused. So the folders that a
command must not read are left out of what it may read: each folder on the way to a hidden one is opened up
into its entries, and every entry but the hidden one is granted. A folder that may be written is granted as a
whole, so a hidden folder cannot lie inside of one; the daemon refuses that before it starts the command.

Landlock knows files, TCP, signals and abstract Unix sockets. It does not know Unix sockets with a path, by
which a command could ask a service of the user (the session bus, a container engine, the daemon itself) to
act for it outside of the sandbox. A seccomp filter refuses to create such sockets; pairs of connected sockets
still work. Without network, it refuses all sockets but those of netlink, which ask the kernel for addresses,
so that UDP is closed, too.

This module runs in an interpreter that loads nothing else (`python -I -S`), and in the forked child between
`fork` and `execve`. Importing ctypes would take as long as the rest of the start, so that the C functions are
called through its core, `_ctypes`.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing it takes as long as the interpreter's start
    from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on all machines since Linux 5.1
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm")

_AF_UNIX, _AF_NETLINK = 1, 16
_EPERM, _EACCES = 1, 13
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_MACHINES = {
    # machine: architecture of the kernel's audit, socket, io_uring_setup, add_key, request_key, keyctl
    "x86_64": (0xC000003E, 41, 425, 248, 249, 250),
    "aarch64": (0xC00000B7, 198, 425, 217, 218, 219),
}

_ctypes: "Any" = None


class RestrictionError(Exception):
    """The process cannot be restricted."""


def call(name: str, *args: "Any") -> int:
    """Call a function of the C library with numbers and bytes; return its result."""
    global _ctypes
    if _ctypes is None:
        import _ctypes as core  # pyright: ignore[reportMissingModuleSource]

        _ctypes = core
    function = _ctypes.dlsym(_ctypes.dlopen(None, 0), name)
    return _ctypes.call_cdeclfunction(function, args)


def find_abi() -> int:
    """Return the version of Landlock that the kernel has, 0 if it has none."""
    return max(0, call("syscall", _CREATE_RULESET, 0, 0, _VERSION_FLAG)) if sys.platform == "linux" else 0


def has_filter() -> bool:
    """Return whether system calls can be filtered on this machine."""
    return os.uname().machine in _MACHINES


def restrict(hidden: list[str], writable: list[str], network: bool) -> None:
    """Restrict this process and all its children from now on.

    Args:
        hidden: absolute paths that cannot be read, resolved.
        writable: folders and files that can be changed. All else can only be read.
        network: whether sockets to the outside work.

    Raises:
        RestrictionError: the kernel refuses.
        OSError: a writable path cannot be opened.
    """
    abi = find_abi()
    handled = (1 << (16 if abi >= 5 else 15 if abi >= 3 else 14 if abi >= 2 else 13)) - 1
    attributes = handled.to_bytes(8, "little")
    if abi >= 4:
        attributes += (0 if network else _BIND_TCP | _CONNECT_TCP).to_bytes(8, "little")
    if abi >= 6:
        attributes += (_SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS).to_bytes(8, "little")
    ruleset = call("syscall", _CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        raise RestrictionError("Landlock is not available")
    for path, access in _find_readable(hidden):
        try:
            _add_rule(ruleset, path, access & handled)
        except OSError:
            pass  # it is gone, or this user cannot open it anyway
    for path in _DEVICES:
        try:
            _add_rule(ruleset, path, handled)
        except OSError:
            pass  # this system does not have it
    for path in writable:
        _add_rule(ruleset, path, handled)
    _set_privileges()
    if call("syscall", _RESTRICT_SELF, ruleset, 0) != 0:
        raise RestrictionError("Landlock refuses its rules")
    os.close(ruleset)
    if has_filter():
        _filter_calls(network)


def _find_readable(hidden: list[str]) -> list[tuple[str, int]]:
    """Return the paths to grant with their access: everything but the hidden paths.

    The names in a folder that is opened up stay visible, since the right to list it holds for all below it.
    """
    if not hidden:
        return [("/", _READ)]
    opened = {"/"}
    for path in hidden:
        while (path := path.rpartition("/")[0]) and path not in opened:
            opened.add(path)
    found: list[tuple[str, int]] = []
    for folder in opened:
        found.append((folder, _READ_DIR))
        try:
            names = os.listdir(folder)
        except OSError:
            continue  # this user cannot read it, or it does not exist
        for name in names:
            path = f"{'' if folder == '/' else folder}/{name}"
            if path not in opened and path not in hidden:
                found.append((path, _READ))
    return found


def _add_rule(ruleset: int, path: str, access: int) -> None:
    # A link is not followed: its target has a rule of its own, or is hidden.
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        kind = os.fstat(descriptor).st_mode & 0o170000
        if kind == 0o120000:
            return
        if kind != 0o040000:
            access &= _OF_FILES
        rule = access.to_bytes(8, "little") + descriptor.to_bytes(4, "little")
        if access and call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) != 0:
            raise RestrictionError("Landlock refuses a rule")
    finally:
        os.close(descriptor)


def _set_privileges() -> None:
    if call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise RestrictionError("the kernel does not give up new privileges")


def _filter_calls(network: bool) -> None:
    """Refuse sockets (see above), io_uring, which could create them, and the kernel's keyrings."""
    program = make_filter(os.uname().machine, refuse_unix=True, refuse_network=not network)
    address = id(program) + bytes.__basicsize__ - 1  # where CPython keeps the content of a bytes object
    header = (len(program) // 8).to_bytes(8, "little") + address.to_bytes(8, "little")
    if call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) != 0:
        raise RestrictionError("the kernel refuses the filter of system calls")


def make_filter(machine: str, *, refuse_unix: bool, refuse_network: bool) -> bytes:
    """Return a seccomp filter, a program of the classic BPF, for a machine that is known."""
    audit, socket, *refused = _MACHINES[machine]
    families = [(_AF_NETLINK, _ALLOW), (_AF_UNIX, _ERROR | _EACCES if refuse_unix else _ALLOW)]
    steps: list[tuple[int, int, int, int]] = [
        _load(4),
        (0x15, 1, 0, audit),  # another architecture, such as 32 bits, has other numbers
        _answer(_ERROR | _EPERM),
        _load(0),
        (0x35, 0, 1, 0x40000000),  # the numbers of x32
        _answer(_ERROR | _EPERM),
    ]
    for number in refused:
        steps += [(0x15, 0, 1, number), _answer(_ERROR | _EPERM)]
    steps += [(0x15, 1, 0, socket), _answer(_ALLOW), _load(16)]
    for family, answer in families:
        steps += [(0x15, 0, 1, family), _answer(answer)]
    steps.append(_answer(_ERROR | _EACCES if refuse_network else _ALLOW))
    return b"".join(
        [
            code.to_bytes(2, "little") + bytes((then, otherwise)) + value.to_bytes(4, "little")
            for code, then, otherwise, value in steps
        ]
    )


def _load(offset: int) -> tuple[int, int, int, int]:
    return (0x20, 0, 0, offset)


def _answer(value: int) -> tuple[int, int, int, int]:
    return (0x06, 0, 0, value)
