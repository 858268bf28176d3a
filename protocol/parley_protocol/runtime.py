"""The directories of the daemon, and the runtime file through which clients find a running daemon.

A daemon that accepts clients writes a runtime file: JSON with its addresses and the token for TCP. Its name
follows from the data directory, so a client that uses the same data directory finds it without asking
anybody. Used by the daemon and the clients. Imports only the standard library, since every start waits for
it. The branches for Windows and macOS have not been tested there.
"""

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

APP: Final = "parleyd"
SOCKET_PATH_LIMIT: Final = 103
"""The longest path of a Unix socket in bytes: macOS allows 103, Linux 107."""

_MAX_BYTES: Final = 65536


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The content of a runtime file; in the file the names are in camelCase.

    `socket` is the path of the Unix socket, `tcp` the loopback address as "127.0.0.1:PORT"; None: the daemon
    does not listen there. Clients on TCP send `token` in `initialize`. `started_at` is RFC 3339.
    """

    pid: int
    socket: str | None
    tcp: str | None
    token: str
    version: str
    protocol_version: int
    data_dir: str
    started_at: str


def data_dir() -> Path:
    """Return the directory for chats: PARLEY_DATA_DIR, or the platform's data directory."""
    return _from_environment("PARLEY_DATA_DIR") or default_data_dir()


def default_data_dir() -> Path:
    """Return the platform's data directory for parleyd. PARLEY_DATA_DIR is ignored."""
    from platformdirs import user_data_path

    return user_data_path(APP, appauthor=False)


def config_path() -> Path:
    """Return the configuration file: PARLEY_CONFIG, or config.toml in the platform's directory for it."""
    given = _from_environment("PARLEY_CONFIG")
    if given:
        return given
    from platformdirs import user_config_path

    return user_config_path(APP, appauthor=False) / "config.toml"


def runtime_dir() -> Path:
    """Return the directory for runtime files and sockets: PARLEY_RUNTIME_DIR, or the platform's."""
    given = _from_environment("PARLEY_RUNTIME_DIR")
    if given:
        return given
    if sys.platform == "win32" or sys.platform == "darwin":
        from platformdirs import user_runtime_path

        return user_runtime_path(APP, appauthor=False)
    base = os.environ.get("XDG_RUNTIME_DIR", "").strip() or f"/run/user/{os.getuid()}"
    return Path(base) / APP if os.access(base, os.W_OK) else _private_temporary_dir()


def runtime_file(data_dir: Path) -> Path:
    """Return the runtime file of the daemon that owns this data directory."""
    return runtime_dir() / f"{_stem(data_dir)}.json"


def socket_path(data_dir: Path) -> Path:
    """Return the path of the Unix socket of the daemon that owns this data directory.

    It is at most SOCKET_PATH_LIMIT bytes long. Its directory may not exist yet: see `make_private_dir`.
    """
    path = runtime_dir() / f"{_stem(data_dir)}.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    return _private_temporary_dir() / f"{_digest(str(path.absolute()))}.sock"


def make_private_dir(path: Path) -> None:
    """Create the directory with its parents, accessible by its owner only.

    Raises:
        OSError: it cannot be created, or it belongs to another user, who could read what is put there.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a directory of this user")
    if stat.S_IMODE(found.st_mode) != 0o700:  # others may read it, or the umask forbids even its owner to
        path.chmod(0o700)


def read_runtime_file(path: Path) -> RuntimeInfo | None:
    """Return the content of a runtime file, or None when it does not lead to a running daemon.

    None: the file is missing, unreadable, malformed or written by another user, or its process has ended.
    """
    try:
        # Without O_NONBLOCK, a named pipe in the place of the file would stop its reader.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
                return None
            owner, text = found.st_uid, file.read(_MAX_BYTES)
        info = _parse(json.loads(text))
    except (OSError, ValueError, RecursionError):
        return None
    if info is None or not is_process_alive(info.pid):
        return None
    # A file of another user would send this user's chats to a socket of that user.
    if sys.platform != "win32" and owner not in (os.geteuid(), 0):
        return None
    return info


def write_runtime_file(path: Path, info: RuntimeInfo) -> None:
    """Write the runtime file atomically, readable by its owner only, in a private directory.

    Raises:
        OSError: the directory or the file cannot be written, or the directory belongs to another user.
    """
    make_private_dir(path.parent)
    text = json.dumps(
        {
            "pid": info.pid,
            "socket": info.socket,
            "tcp": info.tcp,
            "token": info.token,
            "version": info.version,
            "protocolVersion": info.protocol_version,
            "dataDir": info.data_dir,
            "startedAt": info.started_at,
        },
        indent=2,
    )
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            if sys.platform != "win32":
                os.fchmod(descriptor, 0o600)  # whatever the umask is
            file.write(text + "\n")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def is_process_alive(pid: int) -> bool:
    """Return whether a process with this id exists."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _is_process_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _is_process_alive_on_windows(pid: int) -> bool:
    # On Windows, os.kill(pid, 0) would end the process.
    import ctypes

    kernel = cast("Any", ctypes).windll.kernel32
    query_limited_information, still_active = 0x1000, 259
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return bool(known) and code.value == still_active


def _private_temporary_dir() -> Path:
    # Not TMPDIR: it differs between sessions, but the daemon and its clients must use the same directory.
    if sys.platform == "win32":
        import tempfile

        return Path(tempfile.gettempdir()) / APP
    return Path(f"/tmp/{APP}-{os.getuid()}")


def _from_environment(name: str) -> Path | None:
    value = os.environ.get(name, "").strip()
    return Path(value).expanduser().absolute() if value else None


def _stem(data_dir: Path) -> str:
    resolved = os.path.realpath(data_dir.expanduser())  # unlike Path.resolve, it accepts a loop of symlinks
    if resolved == os.path.realpath(default_data_dir().expanduser()):
        return APP
    return f"{APP}-{_digest(resolved)}"


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _parse(value: object) -> RuntimeInfo | None:
    if not isinstance(value, dict):
        return None
    found = cast("dict[str, Any]", value)
    pid, protocol_version = found.get("pid"), found.get("protocolVersion")
    socket, tcp = found.get("socket"), found.get("tcp")
    texts = [found.get(name) for name in ("token", "version", "dataDir", "startedAt")]
    if type(pid) is not int or type(protocol_version) is not int:
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    if not (socket is None or _is_path(socket)) or not (tcp is None or _is_address(tcp)):
        return None
    token, version, directory, started_at = cast("list[str]", texts)
    return RuntimeInfo(pid, socket, tcp, token, version, protocol_version, directory, started_at)


def _is_path(value: object) -> bool:
    """Return whether this is an absolute path that the system can be asked for."""
    if not isinstance(value, str) or "\0" in value or not os.path.isabs(value):
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _is_address(value: object) -> bool:
    """Return whether this is HOST:PORT."""
    if not isinstance(value, str):
        return False
    host, _, port = value.rpartition(":")
    return bool(host) and host.isascii() and host.isprintable() and is_port(port)


def is_port(text: str) -> bool:
    """Return whether this is the number of a port, 1 to 65535, in ASCII digits."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535
