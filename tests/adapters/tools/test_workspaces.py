"""Which folders can be the roots of a chat, and what is said of the others."""

from pathlib import Path

import pytest

from parley_daemon.adapters.tools.lazy import LazyToolbox
from parley_daemon.adapters.tools.workspaces import DaemonFolders, Workspaces
from parley_daemon.core.records import Chat, Context
from parley_daemon.ports.sandbox import Sandbox
from parley_daemon.ports.tools import Toolbox, Workspace


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("home/data/log", "home/run", "home/my project", "home/other"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path / "home"


def workspaces(home: Path) -> Workspaces:
    return Workspaces(
        DaemonFolders(str(home / "data"), str(home / "run"), str(home / "config.toml"), str(home))
    )


async def test_roots_are_the_folders_at_the_uris_however_they_are_spelled(home: Path) -> None:
    (home / "link").symlink_to(home / "other")
    project, other = str(home / "my project"), str(home / "other")
    uris = (
        f"file://{home}/my%20project",
        f"file://localhost{project}",
        f"file:{home}/link/",
        f"file://{other}",
    )
    assert await workspaces(home).workspace(uris) == Workspace((project, other))


async def test_a_folder_in_a_folder_cannot_be_replaced_by_a_link_that_leads_out(home: Path) -> None:
    project = home / "my project"
    (project / "a/b").mkdir(parents=True)
    (project / "inside").symlink_to("a")
    uris = (project.as_uri(), (project / "a/b").as_uri(), (project / "inside").as_uri())
    wanted = (str(project), str(project / "a/b"), str(project / "a"))
    assert await workspaces(home).workspace(uris) == Workspace(wanted)
    (project / "a").rename(project / "was")
    (home / "other/b").mkdir()
    (project / "a").symlink_to(home / "other")
    found = await workspaces(home).workspace(uris)
    assert found.roots == (str(project),)
    assert f"{project}/a is a link that leads to {home}/other" in (found.problem or "")


async def test_a_chat_does_not_choose_with_a_link_where_another_chat_works(home: Path) -> None:
    project = home / "my project"
    (project / "a").mkdir()
    known = workspaces(home)
    outer, inner = (project.as_uri(),), (f"{project.as_uri()}/a/", (home / "other").as_uri())
    assert (await known.workspace(outer)).roots == (str(project),)
    (project / "a").rmdir()
    (project / "a").symlink_to(home / "other")
    found = await known.workspace(inner)
    assert f"{project}/a is a link that leads to {home}/other" in (found.problem or "")
    # The folder itself can be used.
    assert (await known.workspace(inner[1:])).roots == (str(home / "other"),)


async def test_a_chat_without_folders_is_told_how_to_get_one(home: Path) -> None:
    found = await workspaces(home).workspace(())
    assert found.roots == ()
    assert found.problem is not None
    assert "chat/setContext" in found.problem


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("file:///", "that is too much"),
        ("file://{home}", "your home directory"),
        ("file://{home}/..", "above your home directory: that is too much"),
        ("file://{home}/data", "the daemon's own files"),
        ("file://{home}/data/log", "the daemon's own files"),
        ("file://{home}/run", "the daemon's own files"),
        ("file:///proc/self/root", "that is too much"),
        ("file:///proc/self", "no ordinary files"),
        ("file:///dev", "no ordinary files"),
        ("file://{home}/gone", "does not exist (any more)"),
        ("file://{home}/file", "is not a folder"),
        ("file://{home}/loop", "symbolic links"),
        ("file://{home}/%ff", "not UTF-8"),
        ("file://{home}/a%00b", "not a folder on this machine"),
        ("file://server/share", "not a folder on this machine"),
        ("https://example.org/", "not a folder on this machine"),
        ("untitled:Untitled-1", "not a folder on this machine"),
        ("file://[", "not a valid URI"),
    ],
)
async def test_what_cannot_be_a_root_is_named_with_the_reason_beside_those_that_can(
    home: Path, uri: str, reason: str
) -> None:
    (home / "file").touch()
    (home / "loop").symlink_to("loop")
    Path(f"{home}/\udcff").mkdir()
    found = await workspaces(home).workspace((uri.format(home=home), f"file://{home}/other"))
    assert found.roots == (str(home / "other"),)
    assert found.problem is not None
    assert reason in found.problem


async def test_a_toolbox_is_loaded_when_a_chat_first_needs_it(home: Path) -> None:
    made: list[str] = []

    class Folders:
        async def tools(self, chat: Chat) -> list[object]:
            return []

        async def names(self) -> frozenset[str]:
            return frozenset()

        async def workspace(self, chat: Chat) -> Workspace:
            return await workspaces(home).workspace(chat.context.repositories)

    def load() -> Toolbox:
        made.append("a toolbox")
        return Folders()  # pyright: ignore[reportReturnType] - it has no tools of any type

    def load_sandbox() -> Sandbox:
        raise AssertionError("nobody asks for the sandbox")

    toolbox = LazyToolbox(load, load_sandbox)
    assert made == []
    chat = Chat("a", "local", "", "", context=Context(repositories=(f"file://{home}/other",)))
    assert await toolbox.workspace(chat) == await toolbox.workspace(chat) == Workspace((str(home / "other"),))
    assert await toolbox.tools(chat) == []
    assert made == ["a toolbox"]
