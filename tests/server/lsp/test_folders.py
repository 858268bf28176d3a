"""The workspace folders of a client are the default context of the chats that it creates."""

from typing import Any

import pytest

from parley_daemon.server.lsp.folders import MAX_FOLDERS, WorkspaceFolders
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, stdio_peer, unix_peer

A, B = "file:///home/ada/a", "file:///home/ada/b"


def folders(*uris: Any) -> list[Any]:
    return [{"uri": uri, "name": "folder"} for uri in uris]


async def begin(peer: Peer, **params: Any) -> None:
    await peer.result("initialize", {"processId": None, "capabilities": {}, **params})
    await peer.notify("initialized")


async def repositories(peer: Peer, **params: Any) -> list[str]:
    """Return the repositories of a new chat, which is deleted again."""
    chat = await peer.result("chat/create", params)
    await peer.result("chat/delete", {"chatIds": [chat["id"]]})
    return chat["context"]["repositories"]


async def test_a_new_chat_gets_the_folders_unless_it_is_given_a_context(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await begin(peer, workspaceFolders=folders(A, B))
        assert await repositories(peer) == [A, B]
        assert await repositories(peer, context=None) == [A, B]
        assert await repositories(peer, context={}) == []
        assert await repositories(peer, context={"repositories": [B], "files": []}) == [B]
    async with unix_peer(shared_daemon.socket) as peer:
        await begin(peer, workspaceFolders=None)
        assert await repositories(peer) == []


async def test_a_daemon_of_its_own_reads_the_folders_of_its_editor(places: dict[str, str]) -> None:
    async with stdio_peer(places) as peer:
        await begin(peer, workspaceFolders=folders(A))
        assert await repositories(peer) == [A]


async def test_folders_that_are_added_and_removed_count_from_then_on(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await begin(peer, workspaceFolders=folders(A))
        event = {"added": folders(B), "removed": folders("file:///home/%61da/a/")}
        await peer.notify("workspace/didChangeWorkspaceFolders", {"event": event})
        assert await repositories(peer) == [B]


@pytest.mark.parametrize(
    ("params", "uris"),
    [
        ({"rootUri": A}, (A,)),
        ({"rootUri": A, "workspaceFolders": None}, (A,)),
        ({"rootUri": A, "workspaceFolders": []}, ()),
        ({"rootUri": A, "workspaceFolders": folders(B)}, (B,)),
        ({"rootUri": None}, ()),
        ({}, ()),
        ({"workspaceFolders": "x"}, ()),
        (
            {
                "workspaceFolders": [
                    None,
                    7,
                    {},
                    {"uri": 7},
                    {"uri": "/not/a/uri"},
                    {"uri": "file:///a b"},
                    *folders(A),
                ]
            },
            (A,),
        ),
        (
            {"workspaceFolders": folders("file:///c%3A/x", "file:///C:/x/", "file:///c:/y")},
            ("file:///c%3A/x", "file:///c:/y"),
        ),
    ],
)
def test_what_a_client_advertises(params: dict[str, Any], uris: tuple[str, ...]) -> None:
    assert WorkspaceFolders(params).uris == uris


def test_a_change_that_cannot_be_read_changes_nothing() -> None:
    kept = WorkspaceFolders({"workspaceFolders": folders(A)})
    unreadable: list[dict[str, Any]] = [
        {},
        {"event": None},
        {"event": {"added": 7, "removed": [None, {"uri": []}]}},
    ]
    for params in unreadable:
        kept.change(params)
    assert kept.uris == (A,)


def test_the_number_of_folders_is_bounded() -> None:
    kept = WorkspaceFolders({"workspaceFolders": folders(*[f"file:///{number}" for number in range(500)])})
    assert len(kept.uris) == MAX_FOLDERS
    long = [f"file:///{number}/{'x' * 10_000}" for number in range(10)]
    kept = WorkspaceFolders({"workspaceFolders": folders(*long, "file:///short")})
    assert kept.uris == (*long[:6], "file:///short")
