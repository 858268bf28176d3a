"""Listing folders and searching text, in the real worker process, with and without ripgrep."""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
import pytest

from parley_daemon.adapters.tools.searching import tools as searching
from parley_daemon.adapters.tools.searching.worker import Request, answer
from parley_daemon.core.agents.tools import ToolOutput
from parley_daemon.ports.editors import EditRefusedError, OpenDocument
from parley_daemon.ports.tools import ToolInputError
from tests.support.tools.file_rig import FileRig, Monitor

HIT = '{"type": "match", "data": {"path": {"text": "./a"}, "line_number": 1, "submatches": []}}'


@pytest.fixture(params=["python", "ripgrep"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "python":
        monkeypatch.setenv("PATH", "")
    elif shutil.which("rg") is None:
        pytest.skip("ripgrep is not installed")
    return request.param


def lines(output: ToolOutput) -> list[str]:
    assert not output.is_error, output.result
    return str(output.result).splitlines()


def write(rig: FileRig, **files: str) -> None:
    for name, text in files.items():
        file = rig.root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


async def test_files_are_listed_from_the_top_without_what_git_ignores(rig: FileRig) -> None:
    write(rig, a="", src__b="", src__build__c="", out__d="", src__e="", new__f="")
    (rig.root / ".gitignore").write_text("/out\nbuild/\n")
    (rig.root / "link").symlink_to("a")
    await anyio.run_process(["git", "init", "-q", str(rig.root)])
    (rig.root / ".git/info").mkdir(exist_ok=True)
    (rig.root / ".git/info/exclude").write_text("new\n")
    assert lines(await rig.call("list_files")) == [".gitignore", "a", "link@", "src/", "src/b", "src/e"]
    assert lines(await rig.call("list_files", path="src")) == ["src/b", "src/e"]
    assert lines(await rig.call("list_files", glob="src/*")) == ["src/b", "src/e"]
    cut = lines(await rig.call("list_files", limit=2))
    assert cut[:2] == [".gitignore", "a"]
    assert "more than these 2" in cut[2]


async def test_names_that_are_not_utf_8_are_listed_as_escapes_and_what_can_use_them(rig: FileRig) -> None:
    Path(os.fsdecode(os.fsencode(rig.root) + b"/caf\xe9")).touch()
    name, note = lines(await rig.call("list_files"))
    assert name == "caf\\xe9"
    assert "not UTF-8. Only commands can use such files" in note


async def test_lines_are_found_with_their_numbers(rig: FileRig, engine: str) -> None:
    write(rig, a="one\ntwo two\nTHREE\n", src__b="x\r\ntwo\r\n", src__c__d="(two)")
    (rig.root / "binary").write_bytes(b"two\0")
    (rig.root / "wide").write_bytes("é\ntwo\n".encode("utf-16"))
    (rig.root / "link").symlink_to("a")
    found = lines(await rig.call("search_text", pattern="two"))
    assert sorted(found) == ["a:2: two two", "src/b:2: two", "src/c/d:1: (two)", "wide:2: two"]
    assert lines(await rig.call("search_text", pattern="(two)", literal=True)) == ["src/c/d:1: (two)"]
    assert lines(await rig.call("search_text", pattern="^t", path="src/b")) == ["src/b:2: two"]
    assert lines(await rig.call("search_text", pattern="(?i)three", glob="a")) == ["a:3: THREE"]
    assert lines(await rig.call("search_text", pattern="absent")) == ["Nothing was found."]
    cut = lines(await rig.call("search_text", pattern="two", limit=1))
    assert len(cut) == 2


async def test_long_lines_are_shown_around_the_match(rig: FileRig, engine: str) -> None:
    write(rig, a="x" * 5000 + "needle" + "y" * 5000)
    (line,) = lines(await rig.call("search_text", pattern="needle"))
    assert "needle" in line
    assert len(line) < 400


async def test_an_invalid_pattern_is_an_error(rig: FileRig, engine: str) -> None:
    write(rig, a="x")
    output = await rig.call("search_text", pattern="(")
    assert output.outcome == "failed"
    assert str(output.result).startswith("The pattern is not a valid regular expression")


def workers() -> list[str]:
    """Return the command lines of running search processes that this process has started."""
    found: list[str] = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if f"\nPPid:\t{os.getpid()}\n" in status.read_text():
                found.append(status.with_name("cmdline").read_bytes().decode())
    return [line for line in found if "searching.worker" in line]


async def test_a_pattern_that_never_ends_is_stopped_and_leaves_no_process(
    rig: FileRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(searching, "SECONDS", 1.0)
    write(rig, a="a" * 50 + "!")
    with anyio.fail_after(60):
        output = await rig.call("search_text", pattern="(a+)+$")
    assert output.outcome == "timed_out"
    assert workers() == []


async def test_links_to_the_outside_are_not_followed(rig: FileRig, engine: str) -> None:
    (rig.home / "outside").mkdir()
    (rig.home / "outside/secret").write_text("needle")
    (rig.root / "folder").symlink_to(rig.home / "outside")
    (rig.root / "file").symlink_to(rig.home / "outside/secret")
    assert lines(await rig.call("search_text", pattern="needle")) == ["Nothing was found."]
    found = await rig.inspect("search_text", pattern="needle", path="folder")
    assert [use.place for use in found.paths] == ["elsewhere"]


async def test_the_daemons_own_files_are_not_found_from_above_nor_by_another_name(
    rig: FileRig, engine: str
) -> None:
    for name in ("data/keys.json", "run/x.json", "config.toml", "other"):
        (rig.home / name).write_text("needle")
    os.link(rig.home / "data/keys.json", rig.root / "second")
    assert lines(await rig.call("search_text", pattern="needle")) == ["Nothing was found."]
    found = lines(await rig.call("search_text", pattern="needle", path=str(rig.home)))
    assert found == [f"{rig.home}/other:1: needle"]
    assert lines(await rig.call("list_files", path=str(rig.home))) == [
        f"{rig.home}/other",
        f"{rig.home}/project/",
    ]


def test_a_hit_of_ripgrep_behind_a_link_does_not_count(rig: FileRig) -> None:
    (rig.home / "secret").write_text("needle")
    (rig.root / "a").symlink_to(rig.home / "secret")
    fake = rig.home / "rg"  # as if the file had been exchanged between two steps of ripgrep
    fake.write_text(f"#!/bin/sh\necho '{HIT}'\n")
    fake.chmod(0o755)
    cwd = os.getcwd()
    try:
        assert answer(Request(str(rig.root), pattern="needle", ripgrep=str(fake))).hits == []
    finally:
        os.chdir(cwd)


class Editors:
    """One open document, which no editor changes."""

    def __init__(self, path: str, text: str) -> None:
        self.document = OpenDocument("1", path, 1, text)

    async def documents(self, owner: str, path: str) -> Sequence[OpenDocument]:
        return [self.document] if path == self.document.path else []

    async def open_paths(self, owner: str) -> Sequence[str]:
        return [self.document.path]

    async def replace(self, document: OpenDocument, text: str) -> str:
        raise EditRefusedError("no")


async def test_unsaved_text_is_searched_in_place_of_the_file(rig: FileRig, engine: str) -> None:
    write(rig, a="on disk\n")
    open_rig = FileRig(rig.home, Editors(str(rig.root / "a"), "unsaved\n"))
    assert lines(await open_rig.call("search_text", pattern="unsaved|on disk")) == ["a:1: unsaved"]


async def test_what_cannot_be_listed_is_an_error(rig: FileRig) -> None:
    write(rig, a="")
    assert (await rig.call("list_files", path="a")).result == "a is not a folder."
    assert (await rig.call("list_files", path="b")).is_error
    with pytest.raises(ToolInputError, match=r'contains "\.\."'):
        await rig.call("list_files", glob="../*")


@pytest.mark.usefixtures("engine")
async def test_what_rules_withhold_is_left_out_whatever_is_looked_for(rig: FileRig) -> None:
    write(rig, src__a="token = 1\n", src__b__secret="token = 2\n", **{".env": "token = 3\n"})
    context = msgspec.structs.replace(
        await rig.context(), withheld=(f"{rig.root}/**/.env", f"{rig.root}/src/b".casefold())
    )
    note = "[Some files are left out: rules deny them, or ask about them.]"

    async def call(name: str, **args: str) -> list[str]:
        tool = await rig.tool(name)
        inspection = await tool.inspect(args, context)
        return lines(await tool.run(args, context, inspection, Monitor(), None))

    assert await call("search_text", pattern="token") == ["src/a:1: token = 1", note]
    # The note is no answer to what is in the files.
    assert await call("search_text", pattern="token = 3") == await call("search_text", pattern="token = 4")
    assert await call("list_files") == ["src/", "src/a", note]
    # That folder was decided on with the call.
    assert await call("search_text", pattern="token", path="src/b") == ["src/b/secret:1: token = 2"]


async def test_a_program_that_a_command_could_have_written_is_not_run(
    rig: FileRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(rig, a="needle\n")
    canary = rig.home / "canary"
    for folder in (rig.root / "bin", rig.home / "other/.venv/bin"):
        folder.mkdir(parents=True)
        (folder / "rg").write_text(f"#!/bin/sh\ntouch {canary}\n")
        (folder / "rg").chmod(0o755)
        (folder.parent / "pyvenv.cfg").touch()
        monkeypatch.setenv("PATH", str(folder))
        assert lines(await rig.call("search_text", pattern="needle")) == ["a:1: needle"]
    (rig.root / "pyvenv.cfg").unlink()
    monkeypatch.setenv("PATH", f".:{rig.root / 'bin'}")
    assert lines(await rig.call("search_text", pattern="needle")) == ["a:1: needle"]
    assert not canary.exists()
