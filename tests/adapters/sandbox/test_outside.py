"""What a command cannot do outside of its folders. All as an ordinary user, in real sandboxes."""

import hashlib
import os
import socket
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.sandbox.ordinary_user import UserFolders, user_folders

pytestmark = pytest.mark.slow
KINDS = ["bwrap", "landlock"]
CANARY = "canary-c0ffee"


@pytest.fixture
def user() -> Generator[UserFolders]:
    with user_folders() as folders:
        yield folders


def hash_tree(folder: Path) -> str:
    """Return a hash of names, kinds, permissions, times and contents."""
    lines: list[str] = []
    for path in sorted(folder.rglob("*")):
        found = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        lines.append(f"{path} {found.st_mode} {found.st_mtime_ns} {hashlib.sha256(content).hexdigest()}")
    return "\n".join(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_outside_of_the_folders_can_be_changed(kind: str, user: UserFolders) -> None:
    outside = user.write(user.home / "notes/list.txt", "mine")
    user.write(user.home / "notes/run.sh", "echo mine")
    (user.root / "link").symlink_to(outside)
    user.own()
    before = hash_tree(user.home / "notes")
    ways = [
        f"echo x > {outside}",
        f"echo x >> {outside}",
        f"echo x > {outside.parent}/new.txt",
        "echo x > link",
        "echo x > ../notes/list.txt",
        f"mv {outside} moved.txt",
        f"echo y > y.txt; mv y.txt {outside}",
        f"rm -f {outside}",
        f"truncate -s 0 {outside}",
        f"ln -s /etc/passwd {outside.parent}/link",
        f"ln {outside} hard && echo x > hard",
        f"mkdir {outside.parent}/folder",
        f"cp /bin/true {outside}",
        f"cd {outside.parent} && touch here",
        f"python3 -c 'import os; os.truncate(\"{outside}\", 0)'",
        f"echo x > /proc/self/cwd/../notes/list.txt; echo x > /proc/self/root{outside}",
        f"unshare -Urm sh -c 'mount -o remount,rw,bind / ; echo x > {outside}'",
        f"unshare -Ur sh -c 'umount -l {user.home}; echo x > {outside}'",
        f"mkfifo {outside.parent}/fifo",
        f"dd if=/dev/zero of={outside} bs=1 count=1 conv=notrunc",
    ]
    state, *results = user.run(kind, ways)
    assert (state["kind"], state["weak"]) == (kind, False)
    assert len(results) == len(ways)
    assert hash_tree(user.home / "notes") == before
    assert not (user.root / "moved.txt").exists()


def test_bubblewrap_also_holds_permissions_and_times(user: UserFolders) -> None:
    outside = user.write(user.home / "notes/list.txt", "mine")
    before = hash_tree(user.home / "notes")
    _, *results = user.run("bwrap", [f"chmod 777 {outside}", f"touch -d 2001-01-01 {outside}"])
    assert [one["status"] != 0 for one in results] == [True, True]
    assert hash_tree(user.home / "notes") == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_belongs_to_the_chat_can_be_changed_and_tools_work(kind: str, user: UserFolders) -> None:
    git = "git -c user.name=me -c user.email=me@example.org -c init.defaultBranch=main"
    _, *results = user.run(
        kind,
        [
            "mkdir -p a/b && echo one > a/b/c && mv a/b/c d && cat d",
            f"{git} init -q . && echo two > e && git add e && {git} commit -qm first && git log --format=%s",
            'echo x > "$TMPDIR/t" && mkdir -p "$XDG_CACHE_HOME/y" && cat "$TMPDIR/t"',
            "python3 -c 'import multiprocessing as m; print(m.Pool(2).map(abs, [-3]))'",
            'python3 -c \'import pty; pty.spawn(["/bin/echo", "seen"])\'',
            "echo kept > /dev/null; head -c 4 /dev/urandom | wc -c",
            "exit 9",
        ],
    )
    assert [one["status"] for one in results] == [0, 0, 0, 0, 0, 0, 9], results
    words = ["one", "first", "x", "[3]", "seen", "4", ""]
    assert [one["output"].split()[:1] for one in results] == [[word] if word else [] for word in words]


@pytest.mark.parametrize("kind", KINDS)
def test_signals_and_connections_do_not_leave_the_sandbox(kind: str, user: UserFolders) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        subprocess.Popen(["sleep", "60"], user=65534 if os.geteuid() == 0 else None) as victim,
    ):
        path = str(user.home / "service.sock")
        unix.bind(path)
        unix.listen()
        udp.bind(("127.0.0.1", 0))
        for server in (tcp, unix, udp):
            server.setblocking(False)
        user.own()
        names = f"'\\0parley-{victim.pid}'"
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind(f"\0parley-{victim.pid}")
            abstract.listen()
            abstract.setblocking(False)
            connect = 'python3 -c "import socket as s; s.socket(s.{family}, s.{type}).{call}"'
            ways = [
                f"kill -TERM {victim.pid}",
                "kill -TERM -1; true",
                connect.format(
                    family="AF_INET",
                    type="SOCK_STREAM",
                    call=f"connect(('127.0.0.1', {tcp.getsockname()[1]}))",
                ),
                connect.format(
                    family="AF_INET",
                    type="SOCK_DGRAM",
                    call=f"sendto(b'x', ('127.0.0.1', {udp.getsockname()[1]}))",
                ),
                connect.format(family="AF_UNIX", type="SOCK_STREAM", call=f"connect({names})"),
            ]
            if kind == "landlock":  # bubblewrap hides the folders of services; see the next test
                ways.append(connect.format(family="AF_UNIX", type="SOCK_STREAM", call=f"connect('{path}')"))
            user.run(kind, ways)
            for server in (tcp, abstract) if kind == "bwrap" else (tcp, abstract, unix):
                with pytest.raises(BlockingIOError):
                    server.accept()
        with pytest.raises(BlockingIOError):
            udp.recv(1)
        assert victim.poll() is None
        victim.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_a_rule_lets_out_reaches_outside_and_no_other_does(
    kind: str, user: UserFolders
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        connect = f"python3 -c \"import socket as s; s.create_connection(('127.0.0.1', {port}), 9)\""
        own = (
            "python3 -c \"import socket as s; a = s.create_server(('127.0.0.1', 0));"
            ' s.create_connection(a.getsockname(), 9)"'
        )
        ways = [connect, own]
        reached: dict[str | None, list[int]] = {}
        for reach in (None, "loopback", "all"):
            _, *results = user.run(kind, ways, network="none", reach=reach)
            reached[reach] = [int(one["status"] == 0) for one in results]
            if reach != "all":
                with pytest.raises(BlockingIOError):
                    server.accept()
        server.accept()[0].close()
    # Under Landlock, a loopback cannot be told from outside, so that it is closed, too.
    mine = int(kind == "bwrap")
    assert reached == {None: [0, mine], "loopback": [0, mine], "all": [1, 1]}
    outside = user.write(user.home / "notes.txt", "mine")
    user.run(kind, [f"echo x > {outside}"], reach="all")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_no_command_finds_a_key(kind: str, user: UserFolders) -> None:
    places = [".ssh/id_ed25519", ".aws/credentials", ".gnupg/key", ".netrc", ".config/gh/hosts.yml"]
    for place in places:
        user.write(user.home / place, f"{CANARY} {place}")
    user.write(user.data / "keys.json", f"{CANARY} data")
    config = user.write(user.home / ".config/parleyd/config.toml", f"{CANARY} config")
    config.parent.chmod(0o700)
    _, *results = user.run(
        kind,
        [
            f"cat {' '.join(str(user.home / place) for place in places)}",
            f"cat {config} {user.data}/keys.json",
            f"grep -rs canary {user.home}",
            "env",
            "for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; done 2>/dev/null",
            "cat /proc/*/cmdline /proc/*/mem 2>/dev/null | head -c 1000000 | tr '\\0' ' '",
            "unshare -Urm sh -c 'umount -l ~/.ssh; cat ~/.ssh/*'",
            f"ln {user.data}/keys.json k; cp {user.data}/keys.json k2; cat k k2",
        ],
        own=[str(user.data), str(config)],
    )
    assert [one["output"] for one in results if "canary" in one["output"]] == []


def test_without_a_sandbox_the_state_says_so(user: UserFolders) -> None:
    (state,) = user.run("none", [])
    assert state["kind"] == "none"
    assert "can read the keys of parleyd" in state["notes"][0]


@pytest.mark.parametrize("kind", KINDS)
def test_in_plan_mode_no_way_to_write_changes_the_tree(kind: str, user: UserFolders) -> None:
    user.write(user.root / "src/main.py", "print('one')\n")
    user.write(user.root / "run.sh", "echo two\n")
    git = "git -c safe.directory=* -c user.name=me -c user.email=me@example.org"
    subprocess.run(
        f"cd {user.root} && {git} init -q . && {git} add . && {git} commit -qm first", shell=True, check=True
    )
    user.own()
    before = hash_tree(user.root)
    ways = [
        *[
            "echo x > run.sh",
            "echo x >> run.sh",
            ": > run.sh",
            "echo x > new",
            "echo x | tee run.sh",
            "rm run.sh",
        ],
        *["rm -rf src", "rmdir src", "mkdir new", "mv run.sh a", "mv src b", "cp run.sh c", "ln -s run.sh d"],
        *[
            "ln run.sh e",
            "touch f",
            "touch new/x",
            "mkfifo g",
            "truncate -s 0 run.sh",
            "dd if=/dev/null of=run.sh",
        ],
        *[
            "sed -i s/two/three/ run.sh",
            "perl -pi -e s/two/three/ run.sh",
            "install run.sh h",
            "split run.sh",
        ],
        *['python3 -c \'open("i", "w")\'', "python3 -c 'import os; os.truncate(\"run.sh\", 0)'"],
        *[
            'python3 -c \'import os; os.rename("run.sh", "j")\'',
            "git checkout -b k",
            "git commit --allow-empty -m l",
        ],
        *[
            "git stash",
            "git reset --hard",
            "git clean -fdx",
            "git config a.b c",
            "git tag m",
            "git rm run.sh",
        ],
        *[
            "git apply /dev/null",
            "git init n",
            "git gc",
            "tar cf o.tar src",
            "gzip run.sh",
            "patch run.sh </dev/null",
        ],
        *[
            "find . -name '*.sh' -delete",
            "find . -exec rm {} +",
            "xargs touch <<< p",
            "exec 3> q",
            "sort -o run.sh run.sh",
        ],
        *[
            "cat run.sh > /proc/self/cwd/r",
            "bash -c 'echo x > s'",
            "env echo x > t",
            "(setsid touch u) & wait",
        ],
        *[
            "nohup touch v",
            "timeout 5 touch w",
            "echo x > $PWD/y",
            "cd src && touch z",
            "awk 'BEGIN{print > \"aa\"}'",
        ],
        *[
            "unshare -Urm sh -c 'mount -o remount,rw .; touch bb'",
            "rsync -a src/ cc/",
            "curl -o dd file:///etc/passwd",
        ],
    ]
    assert len(ways) >= 50
    _, *results = user.run(kind, ways, plan=True)
    assert len(results) == len(ways)
    assert hash_tree(user.root) == before


@pytest.mark.parametrize("kind", ["bwrap", "landlock", "none"])
def test_the_daemons_own_files_stay_as_they_were(kind: str, user: UserFolders) -> None:
    config = user.write(user.home / ".config/parleyd/config.toml", "# mine\n")
    config.parent.chmod(0o700)
    keys = user.write(user.data / "keys.json", "{}")
    kept = [config] if kind == "none" else [config, keys]
    before = [(path.read_bytes(), path.stat().st_mode) for path in kept]
    ways = [
        *[f"echo evil > {path}; echo evil >> {path}" for path in kept],
        *[f"rm -f {path}; echo evil > {path}" for path in kept],
        *[f"echo evil > x; mv x {path}" for path in kept],
        *[f"ln -sf /etc/passwd {path}" for path in kept],
        f"mv {config.parent} {config.parent}2; mkdir {config.parent}; echo evil > {config}",
        f"rm -rf {config.parent}",
    ]
    if kind != "none":
        ways += [f"rm -rf {user.data}", f"mv {user.data} {user.data}2", f"touch {user.data}/new"]
    order = {"own": [str(user.data), str(config)], "guarded": [str(config)]}
    for number, way in enumerate(ways):
        _, result = user.run(kind, [way], **order)
        assert [(path.read_bytes(), path.stat().st_mode) for path in kept] == before, way
        is_reported = any(str(config) in finding for finding in result["findings"])
        assert is_reported == (kind == "none"), (number, result)
    assert not (user.data / "new").exists()


def test_a_command_cannot_change_the_programs_of_the_daemon(user: UserFolders) -> None:
    own = user.write(user.root / "deep/.venv/lib/parley_daemon/cli.py", "mine")
    venv = user.root / "deep/.venv"
    ways = [
        f"echo evil > {own}",
        f"rm -rf {venv}; mkdir -p {own.parent}; echo evil > {own}",
        f"mv {venv} {venv}2; mkdir -p {own.parent}; echo evil > {own}",
        f"mv {venv.parent} {venv.parent}2; mkdir -p {own.parent}; echo evil > {own}",
        f"mkdir {venv}/bin; echo evil > {venv}/bin/python",
    ]
    _, read, *results = user.run("bwrap", [f"cat {own}", *ways], programs=[str(venv)])
    assert read["output"] == "mine"
    assert all(result["status"] != 0 for result in results), results
    assert own.read_text("utf-8") == "mine"
    assert not (venv / "bin").exists()


@pytest.mark.parametrize("kind", ["bwrap", "landlock", "none"])
def test_permissions_that_a_command_takes_do_not_keep_files_from_being_put_back(
    kind: str, user: UserFolders
) -> None:
    subprocess.run(["git", "init", "-q", user.root], check=True)
    hooks = user.root / ".git/hooks"
    user.write(hooks / "post-commit", "echo mine").chmod(0o755)
    before = hash_contents(user.root / ".git")
    evil = (
        "echo evil > .git/commondir; mkdir -p .parley/closed/deep .git/hooks/0; echo evil > .parley/closed/x;"
        "echo evil > .git/hooks/pre-commit; echo evil > .git/hooks/post-commit;"
        "chmod 0 .git/hooks/post-commit .git/hooks/0 .parley/closed/deep .parley/closed .parley;"
        "chmod 500 .git/hooks .git"
    )
    _, result = user.run(kind, [evil])
    assert hash_contents(user.root / ".git") == before, result
    assert not (user.root / ".parley").exists()
    assert any(f"{user.root}/.git/commondir" in one for one in result["findings"]), result
    assert not any("could not" in one for one in result["findings"]), result


def hash_contents(folder: Path) -> list[tuple[str, int, str]]:
    """Return names, permissions and contents of what is below a folder."""
    return [
        (str(path), path.stat().st_mode, path.read_text("utf-8", "replace") if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    ]
