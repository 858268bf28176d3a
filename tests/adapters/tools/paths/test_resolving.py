"""Where paths lead, and that nothing else is ever reached."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from parley_daemon.adapters.tools.paths import opening
from parley_daemon.adapters.tools.paths.opening import ChangedMeanwhileError
from parley_daemon.adapters.tools.paths.resolving import Resolver
from parley_daemon.adapters.tools.workspaces import DaemonFolders
from parley_daemon.core.agents.tools import ToolOutput
from parley_daemon.ports.tools import ToolInputError, Workspace
from tests.support.tools.file_rig import FileRig


@pytest.mark.parametrize(
    ("path", "place", "leads_to"),
    [
        ("a/b", "root", "{root}/a/b"),
        ("./a//../a/./b", "root", "{root}/a/b"),
        ("{root}/../project/a/x", "root", "{root}/a/x"),
        ("../other", "elsewhere", "{home}/other"),
        ("out", "elsewhere", "{home}/outside"),
        ("out/new/file", "elsewhere", "{home}/outside/new/file"),
        ("dangling", "elsewhere", "{home}/nothing"),
        ("inner/x", "root", "{root}/a/x"),
        ("/proc/self/root{root}/a/x", "root", "{root}/a/x"),
        ("/etc/passwd", "elsewhere", "/etc/passwd"),
        (".git/config", "protected", "{root}/.git/config"),
        ("a/.GIT/hooks/x", "protected", "{root}/a/.GIT/hooks/x"),
        ("a/.git", "protected", "{root}/a/.git"),
        ("a/.g\u200cit./x", "protected", "{root}/a/.g\u200cit./x"),
        ("GIT~1/config", "protected", "{root}/GIT~1/config"),
        ("git-link/config", "protected", "{root}/.git/config"),
        ("a/.parley/rules.toml", "protected", "{root}/a/.parley/rules.toml"),
        ("bare.repo/hooks/post-update", "protected", "{root}/bare.repo/hooks/post-update"),
        (".gitignore", "root", "{root}/.gitignore"),
    ],
)
async def test_the_place_of_a_path_is_that_of_what_it_leads_to(
    rig: FileRig, path: str, place: str, leads_to: str
) -> None:
    root, home = rig.root, rig.home
    for folder in ("a", ".git", "bare.repo/objects", "bare.repo/refs"):
        (root / folder).mkdir(parents=True)
    (root / "bare.repo/HEAD").touch()
    (home / "outside").mkdir()
    links = {
        "out": home / "outside",
        "dangling": home / "nothing",
        "inner": Path("a"),
        "git-link": Path(".git"),
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (use,) = (await rig.inspect("write_file", path=path.format(root=root, home=home), content="")).paths
    assert (use.path, use.place) == (leads_to.format(root=root, home=home), place)
    output = await rig.run("write_file", await rig.inspect("read_file", path="a"), path=path, content="")
    assert output.is_error


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "must not be empty"),
        ("a\0b", "NUL"),
        ("loop", "lead in a circle"),
        ("gone/../a", "a folder in it does not exist"),
        ("file/below", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("x/" * 3000, "is too long"),
        ("/dev/null", "no ordinary file"),
        ("{home}/data/new", "belongs to parleyd"),
    ],
)
async def test_a_path_that_leads_nowhere_is_an_error(rig: FileRig, path: str, problem: str) -> None:
    (rig.root / "loop").symlink_to("loop")
    (rig.root / "file").touch()
    with pytest.raises(ToolInputError, match=problem):
        await rig.call("write_file", path=path.format(home=rig.home), content="")


async def test_without_a_folder_a_relative_path_says_why_it_cannot_be_used(rig: FileRig) -> None:
    resolver = Resolver(DaemonFolders("/data", "/run", "/config", "/home"))
    with pytest.raises(ToolInputError, match=r"This chat has no folder\. Set one"):
        resolver.resolve("a", Workspace((), "This chat has no folder. Set one."))


async def test_a_folder_of_the_chat_that_is_gone_is_not_made_again(rig: FileRig) -> None:
    await rig.call("list_files")
    rig.root.rmdir()
    for name, args in (("list_files", {}), ("write_file", {"path": "sub/a", "content": "x"})):
        with pytest.raises(ToolInputError, match="does not exist any more"):
            await rig.inspect(name, **args)
    assert not rig.root.exists()


def test_what_the_daemon_runs_is_read_and_never_changed(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / ".venv/lib").mkdir(parents=True)
    (root / "venv").symlink_to(".venv")
    resolver = Resolver(DaemonFolders("/data", "/run", "/config", "/home", (str(root / ".venv"),)))
    for path in (".venv/lib/new.py", "venv/bin/python"):
        target = resolver.resolve(path, Workspace((str(root),)))
        assert (target.use("edit").place, target.use("read").place) == ("protected", "root")
        assert "parleyd itself is installed there" in (target.problem or "")
    assert resolver.resolve("lib/new.py", Workspace((str(root),))).place == "root"


async def test_a_path_that_leads_elsewhere_since_the_inspection_is_not_used(rig: FileRig) -> None:
    (rig.root / "a").mkdir()
    (rig.home / "outside").mkdir()
    inspection = await rig.inspect("write_file", path="a/new", content="x")
    (rig.root / "a").rename(rig.root / "b")
    (rig.root / "a").symlink_to(rig.home / "outside")
    output: ToolOutput = await rig.run("write_file", inspection, path="a/new", content="x")
    assert output.result == "a/new leads to another file than a moment ago. Try again."
    assert list((rig.home / "outside").iterdir()) == []


PROTECTED = [
    *("{home}/config.toml", "{home}/data/parley.db", "{home}/run/parley.sock", "{home}/run/new"),
    *(".git/config", ".git/hooks/pre-commit", ".git/new", "sub/.git", ".parley/rules.toml", "{home}/other"),
]


@pytest.mark.parametrize("path", PROTECTED)
async def test_no_tool_changes_a_protected_path_even_if_the_policy_allowed_it(
    rig: FileRig, path: str
) -> None:
    for name in [*PROTECTED, "a"]:
        file = rig.root / name.format(home=rig.home)
        if not file.name.startswith("new"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("one\n")
    await rig.read("a")
    before = content(rig.home)
    path = path.format(home=rig.home)
    calls = [
        ("write_file", {"path": path, "content": "two"}),
        ("edit_file", {"path": path, "oldText": "one", "newText": "two"}),
        ("delete_file", {"path": path}),
        ("move_file", {"path": "a", "to": path}),
        ("move_file", {"path": path, "to": "b"}),
        ("apply_patch", {"patch": f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch"}),
        ("apply_patch", {"patch": f"*** Begin Patch\n*** Delete File: {path}\n*** End Patch"}),
        ("apply_patch", {"patch": f"*** Begin Patch\n*** Update File: {path}\n-one\n*** End Patch"}),
        (
            "apply_patch",
            {"patch": f"*** Begin Patch\n*** Update File: a\n*** Move to: {path}\n*** End Patch"},
        ),
    ]
    for name, args in calls:
        try:
            inspection = await rig.inspect(name, **args)
        except ToolInputError:
            continue
        assert {use.place for use in inspection.paths} & {"protected", "elsewhere"}
        assert inspection.preview.diff is None
        assert (await rig.run(name, inspection, **args)).is_error
    assert content(rig.home) == before


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("swapped", ["folder", "file"])
def test_nothing_outside_changes_while_links_are_swapped_in(tmp_path: Path, swapped: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "folder").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_text("outside")
    (root / "folder/file").write_text("inside")
    path, other = root / "folder", outside
    if swapped == "file":
        path, other = root / "folder/file", outside / "file"
    stop = Event()

    def swap() -> None:
        kept = path.with_name("kept")
        while not stop.is_set():
            try:
                path.rename(kept)
                path.symlink_to(other)
                path.unlink()
                kept.rename(path)
            except OSError:  # the other thread was in between
                if path.is_symlink():
                    path.unlink()
                if kept.exists():
                    kept.replace(path)
                elif not path.exists():
                    path.write_text("inside")

    def use(action: Callable[[str], None]) -> None:
        try:
            action(str(root / "folder/file"))
        except (OSError, ChangedMeanwhileError):
            return

    def write(target: str) -> None:
        if (before := opening.look(target)) is not None:
            opening.write_file(target, b"inside", before)

    def read(target: str) -> None:
        assert opening.read_whole(target, 100)[0] == b"inside"

    def move(target: str) -> None:
        if (before := opening.look(target)) is not None:
            opening.move_file(target, str(root / "moved"), before)
            (root / "moved").unlink()

    swapper = Thread(target=swap, daemon=True)
    swapper.start()
    try:
        for number in range(10_000):
            use((write, read, move)[number % 3 if swapped == "file" else number % 2])
    finally:
        stop.set()
        swapper.join()
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "outside"
