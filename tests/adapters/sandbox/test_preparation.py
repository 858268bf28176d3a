"""What commands are started with."""

import marshal
import struct
from itertools import pairwise, product
from pathlib import Path

import pytest
from msgspec.structs import replace

from parley_daemon.adapters.sandbox.bwrap import make_arguments
from parley_daemon.adapters.sandbox.environment import make_environment
from parley_daemon.adapters.sandbox.places import find_conflict, find_secrets, widen_to_own_folder
from parley_daemon.adapters.sandbox.preparation import Preparation, SandboxPaths
from parley_daemon.adapters.sandbox.protected import ProtectedFiles
from parley_daemon.adapters.sandbox.seatbelt import make_arguments as make_seatbelt_arguments
from parley_daemon.adapters.supervision.landlock import make_filter
from parley_daemon.core.agents.rules import Reach, SandboxKind
from parley_daemon.ports.sandbox import Command, SandboxError, SandboxSettings, SandboxState


def test_the_environment_has_only_what_is_allowed() -> None:
    daemon = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OPENAI_API_KEY": "canary",
        "LD_PRELOAD": "canary",
        "MINE": "yes",
        "SSH_AUTH_SOCK": "canary",
        "BASH_ENV": "canary",
    }
    found = make_environment(daemon, "/private", ["MINE"], {"PWD": "/work"})
    assert "canary" not in found.values()
    assert {name: found[name] for name in ("PATH", "LC_ALL", "MINE", "PWD")} == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "MINE": "yes",
        "PWD": "/work",
    }
    assert (found["TMPDIR"], found["XDG_CACHE_HOME"]) == ("/private", "/private/.cache")


def test_only_secrets_that_exist_are_hidden_and_links_to_them_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".ssh").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".netrc").touch()
    assert sorted(find_secrets(tmp_path)) == [str(tmp_path / ".netrc"), str(tmp_path / "elsewhere")]


def test_a_file_in_a_folder_of_its_own_is_hidden_with_the_folder(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir(mode=0o700)
    shared.mkdir(mode=0o755)
    assert widen_to_own_folder(own / "config.toml") == str(own)
    assert widen_to_own_folder(shared / "config.toml") == str(shared / "config.toml")


def test_a_hidden_path_below_a_writable_one_is_found() -> None:
    assert find_conflict(["/home/me/.ssh"], ["/home/me"]) == ("/home/me/.ssh", "/home/me")
    assert find_conflict(["/home/me/.ssh"], ["/home/me/work", "/home/me/.sshx"]) is None


def test_inner_folders_lie_over_outer_ones_and_the_daemons_own_over_all(tmp_path: Path) -> None:
    root, git, own = tmp_path / "root", tmp_path / "root/.git", tmp_path / "root/own"
    for folder in (git, own):
        folder.mkdir(parents=True)
    arguments = make_arguments(
        "bwrap",
        ["true"],
        cwd=str(root),
        scratch="/scratch",
        readable=[str(root)],
        writable=[str(root)],
        read_only=[str(git / "config")],
        kept_apart=[str(git)],
        hidden=[str(tmp_path)],
        own=[str(own)],
        network=False,
    )
    order = [str(tmp_path), str(root), str(git), str(git / "config"), str(own)]
    ends = [arguments.index(path) for path in order]
    assert ends == sorted(ends)
    assert "--unshare-net" in arguments


def run_filter(program: bytes, audit: int, number: int, family: int) -> int:
    """Run a classic BPF program as the kernel does; return its answer."""
    data = struct.pack("<IIQ6Q", number, audit, 0, family, 0, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("<HBBI", program))
    accumulator = position = 0
    while True:
        code, then, otherwise, value = steps[position]
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x15:
                position += then if accumulator == value else otherwise
            case 0x35:
                position += then if accumulator >= value else otherwise
            case _:
                return value


ALLOWED, NOT_PERMITTED, DENIED = 0x7FFF0000, 0x00050001, 0x0005000D


@pytest.mark.parametrize(
    ("machine", "audit", "socket"), [("x86_64", 0xC000003E, 41), ("aarch64", 0xC00000B7, 198)]
)
def test_the_filter_refuses_sockets_and_foreign_calls(machine: str, audit: int, socket: int) -> None:
    closed = make_filter(machine, refuse_unix=True, refuse_network=True)
    opened = make_filter(machine, refuse_unix=True, refuse_network=False)
    families = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "vsock": 40}
    answers = {name: run_filter(closed, audit, socket, family) for name, family in families.items()}
    assert answers == {
        **dict.fromkeys(("unix", "inet", "inet6", "vsock"), DENIED),
        "netlink": ALLOWED,
    }
    assert run_filter(opened, audit, socket, families["inet"]) == ALLOWED
    assert run_filter(opened, audit, socket, families["unix"]) == DENIED
    assert run_filter(closed, audit, 0, 0) == ALLOWED
    assert run_filter(closed, audit, 425, 0) == NOT_PERMITTED
    assert run_filter(closed, 0x40000003, socket, 2) == NOT_PERMITTED
    assert run_filter(closed, audit, socket | 0x40000000, 2) == NOT_PERMITTED


def test_what_a_rule_lets_a_command_reach_is_what_its_sandbox_gives(tmp_path: Path) -> None:
    paths = SandboxPaths((), tmp_path / "scratch", tmp_path / "kept")
    preparation = Preparation(SandboxSettings(network="none"), paths, {"PATH": "/bin"}, "/python")
    found: dict[tuple[str, str | None], bool] = {}
    reaches: tuple[Reach | None, ...] = (None, "loopback", "all")
    kinds: tuple[SandboxKind, ...] = ("bwrap", "landlock", "seatbelt")
    for kind, reach in product(kinds, reaches):
        command = Command(("true",), "/", network=reach)
        state = SandboxState(kind, network="none")
        argv, _, message = preparation.prepare(state, command, "/s", ProtectedFiles((), {}, {}))
        if kind == "bwrap":
            found[kind, reach] = "--unshare-net" not in argv
            continue
        order = marshal.loads(message[4:])
        profile = order["argv"][2] if kind == "seatbelt" else ""
        found[kind, reach] = order["network"]
        assert ("(deny network*)" in profile) == (kind == "seatbelt" and reach != "all")
        assert ("localhost" in profile) == (kind == "seatbelt" and reach == "loopback")
    assert found == {(kind, reach): reach == "all" for kind, reach in product(kinds, reaches)}


def test_no_command_starts_where_it_could_change_the_daemons_programs(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "project/.venv/lib").mkdir(parents=True)
    paths = SandboxPaths((), root / "s", root / "k", programs=(str(root / "project/.venv"),))
    preparation = Preparation(SandboxSettings(), paths, {"PATH": "/bin"}, "/python")

    def prepare(kind: SandboxKind, folder: str, *, is_writable: bool = True) -> None:
        roots = (str(root / folder),)
        command = Command(("true",), roots[0], roots, roots if is_writable else ())
        preparation.prepare(SandboxState(kind), command, "/s", ProtectedFiles((), {}, {}))

    with pytest.raises(SandboxError, match=r"parleyd itself is installed in .*/project/\.venv"):
        prepare("landlock", "project")
    for kind in ("bwrap", "landlock"):
        with pytest.raises(SandboxError, match="belongs to the programs of parleyd"):
            prepare(kind, "project/.venv/lib")
        prepare(kind, "project", is_writable=False)
    prepare("bwrap", "project")
    prepare("none", "project")  # where nothing holds, every command is asked about


def test_what_rules_keep_from_a_command_uncovers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    secret, hooks, own = tmp_path / ".ssh/keys", tmp_path / "hooks", tmp_path / "own"
    for folder in (secret, hooks / "sub", own):
        folder.mkdir(parents=True)
    paths = SandboxPaths((own,), tmp_path / "scratch", tmp_path / "kept")
    preparation = Preparation(SandboxSettings(), paths, {"PATH": "/bin"}, "/python")
    kept = (str(secret), str(hooks / "sub"), str(own / "sub"), str(tmp_path / "work"))
    command = Command(
        ("true",),
        str(tmp_path),
        writable=(str(tmp_path),),
        hidden=(str(hooks / "sub/key"),),
        read_only=(str(secret / "id"), str(tmp_path / "lock")),
        kept_apart=kept,
    )
    protected = ProtectedFiles((str(tmp_path),), {str(secret / ".git"): (0, 0)}, {}, [str(hooks)])
    argv, _, _ = preparation.prepare(SandboxState("bwrap"), command, "/s", protected)
    bound = {(option, path) for option, path in pairwise(argv) if option in ("--bind", "--ro-bind")}
    assert ("--bind", str(tmp_path / "work")) in bound
    assert ("--ro-bind", str(tmp_path / "lock")) in bound
    assert not {path for _, path in bound} & {*kept[:3], str(secret / "id"), str(secret / ".git")}
    plan = replace(command, writable=())
    argv, _, _ = preparation.prepare(SandboxState("bwrap"), plan, "/s", protected)
    assert [path for option, path in pairwise(argv) if option == "--bind"] == ["/s", "/s"]


def test_the_profile_of_macos_closes_more_than_it_opens_again() -> None:
    program, option, profile, *argv = make_seatbelt_arguments(
        ["true"],
        writable=["/work"],
        read_only=['/work/.git/co"nfig'],
        hidden=["/keys"],
        network="none",
    )
    assert (program, option, argv) == ("/usr/bin/sandbox-exec", "-p", ["true"])
    lines = profile.splitlines()
    assert lines.index('(allow file-write* (subpath "/work"))') < lines.index(
        '(deny file-write* (subpath "/work/.git/co\\"nfig"))'
    )
    assert '(deny file-read* file-write* (subpath "/keys"))' in lines
    assert "(deny network*)" in lines
