"""chat/gitChanges, chat/diffStatus and chat/diff of a real daemon, with real repositories."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoints import Scratch, write
from tests.support.git_repositories import git, new_repository
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


async def chat_in(peer: Peer, *folders: Path, **params: Any) -> dict[str, Any]:
    """Return the params that name a new chat in these folders."""
    context = {"repositories": [folder.as_uri() for folder in folders]}
    return {"chatId": (await peer.result("chat/create", {"context": context, **params}))["id"]}


def shown(changes: list[dict[str, Any]], folder: Path) -> dict[str, tuple[str, str | None]]:
    """Return the kind and the summary of each change by its name below a folder."""
    start = folder.as_uri() + "/"
    return {one["filePath"].removeprefix(start): (one["changeType"], one["diffSummary"]) for one in changes}


async def test_the_changes_of_a_repository_are_those_since_its_last_commit(
    peer: Peer, tmp_path: Path
) -> None:
    repository = new_repository(tmp_path / "r", {"a.py": "one\n", "b.py": "b\n" * 9})
    git(repository, "remote", "add", "origin", "https://me:secret@github.com/ada/x.git")
    chat = await chat_in(peer, repository)
    assert await peer.result("chat/gitChanges", chat) == []
    write(repository / "a.py", "two\nthree\n")
    git(repository, "mv", "b.py", "c d.py")
    (repository / "image").write_bytes(b"\0")

    changes = await peer.result("chat/gitChanges", chat)
    assert shown(changes, repository) == {
        "a.py": ("modified", "+2 -1"),
        "c%20d.py": ("renamed", "+0 -0"),
        "image": ("added", None),
    }
    assert changes[1]["oldPath"] == (repository / "b.py").as_uri()
    assert await peer.result("chat/gitChanges", chat) == changes  # ids and times stay

    status = await peer.result("chat/diffStatus", chat)
    assert {**status, "refreshedAt": None, "staleAt": None} == {
        "url": "https://github.com/ada/x/tree/main",
        "pullRequestState": None,
        "changesRequested": False,
        "additions": 2,
        "deletions": 1,
        "changedFiles": 3,
        "refreshedAt": None,
        "staleAt": None,
    }
    assert status["refreshedAt"] < status["staleAt"]
    assert (await peer.result("chat/get", chat))["chat"]["diffStatus"] == status

    diff = await peer.result("chat/diff", {**chat, "paths": [(repository / "a.py").as_uri()]})
    assert diff == {
        "provider": "github.com",
        "remoteOrigin": "https://github.com/ada/x.git",
        "branch": "main",
        "pullRequestUrl": None,
        "diff": diff["diff"],
        "truncated": False,
    }
    assert diff["diff"].startswith("diff --git a/a.py b/a.py\n")
    assert (await peer.result("chat/diff", chat))["diff"].count("diff --git") == 3


async def test_elsewhere_the_changes_are_those_of_the_chats_tools(
    shared_daemon: DaemonProcess, peer: Peer, tmp_path: Path
) -> None:
    root, repository = tmp_path / "root", new_repository(tmp_path / "r", {"a": "a\n"})
    root.mkdir()
    chat = await chat_in(peer, root, repository)
    scratch = Scratch(tmp_path, data=shared_daemon.data_dir / "checkpoints", chat=chat["chatId"])
    write(root / "mine.txt", "not by a tool\n")
    await scratch.write("new.txt", "one\n", "turn-1", message=1)
    write(repository / "a", "b\n")

    assert shown(await peer.result("chat/gitChanges", chat), tmp_path) == {
        "root/new.txt": ("added", "+1 -0"),
        "r/a": ("modified", "+1 -1"),
    }
    text = (await peer.result("chat/diff", chat))["diff"]
    assert "+++ b/root/new.txt\n" in text
    assert "+++ b/r/a\n" in text
    assert (await peer.result("chat/diffStatus", chat))["changedFiles"] == 2


async def test_the_changes_from_a_message_on_are_those_of_tools_in_repositories_too(
    shared_daemon: DaemonProcess, peer: Peer, tmp_path: Path
) -> None:
    root = new_repository(tmp_path / "root", {"a": "a\n"})
    history = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    chat = await chat_in(peer, root, messages=history)
    scratch = Scratch(tmp_path, data=shared_daemon.data_dir / "checkpoints", chat=chat["chatId"])
    await scratch.write("a", "b\n", "turn-1", message=1)
    await scratch.write("a", "c\n", "turn-2", message=2)
    assert "-a\n+c\n" in (await peer.result("chat/diff", chat))["diff"]
    assert "-b\n+c\n" in (await peer.result("chat/diff", {**chat, "fromMessageId": 2}))["diff"]
    assert (await peer.error("chat/diff", {**chat, "fromMessageId": 3}))["code"] == 1002


async def test_what_cannot_be_read_is_told(peer: Peer, tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "r", {"a": "a\n"})
    chat = await chat_in(peer, repository)
    outside = await peer.error("chat/diff", {**chat, "paths": [tmp_path.as_uri()]})
    assert (outside["code"], outside["data"]["fields"][0]["path"]) == (-32602, "paths")
    (repository / ".git" / "config").write_text("[broken")
    for method in ("chat/gitChanges", "chat/diffStatus", "chat/diff"):
        error = await peer.error(method, chat)
        assert (error["code"], "bad config" in error["message"]) == (1017, True)
    gone = await chat_in(peer, tmp_path / "gone")
    assert (await peer.error("chat/gitChanges", gone))["code"] == 1017


async def test_a_chat_without_folders_has_no_changes(peer: Peer) -> None:
    chat = await chat_in(peer)
    assert await peer.result("chat/gitChanges", chat) == []
    assert (await peer.result("chat/diff", chat))["diff"] == ""
    assert (await peer.result("chat/diffStatus", chat))["changedFiles"] == 0


async def test_watchers_are_told_after_tools_have_changed_files(
    shared_daemon: DaemonProcess, peer: Peer, tmp_path: Path
) -> None:
    repository = new_repository(tmp_path, {"a.py": "one\n"})
    chat = await chat_in(peer, repository, settings={"agent": {"mode": "edits"}})
    async with unix_peer(shared_daemon.socket) as watcher:
        await watcher.initialize()
        await watcher.start("chat/watch", {"partialResultToken": "w"})
        prompt = '/tool write_file {"path": "new.py", "content": "1\\n2\\n"}'
        await peer.result("chat/ask", {**chat, "content": prompt})

        def is_told(message: dict[str, Any]) -> bool:
            value = message.get("params", {}).get("value", {})
            return value.get("type") == "diff_status" and value["chat"]["id"] == chat["chatId"]

        told = await watcher.find(is_told)
    status = told["params"]["value"]["chat"]["diffStatus"]
    assert (status["changedFiles"], status["additions"], status["deletions"]) == (1, 2, 0)


@pytest.mark.parametrize("method", ["chat/gitChanges", "chat/diffStatus", "chat/diff"])
async def test_an_unknown_chat_has_no_changes(peer: Peer, method: str) -> None:
    assert (await peer.error(method, {"chatId": "none"}))["code"] == 1001
