"""chat/search over the wire."""

from typing import Any

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer


async def test_a_search_answers_with_hits_page_by_page(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        says: list[dict[str, Any]] = [
            {"role": "user", "content": text} for text in ("a whale", "no", "Whales!")
        ]
        chat = await peer.new_chat(title="About whales", messages=says)
        await peer.new_chat(messages=[{"role": "user", "content": "dolphins"}])

        first = await peer.result("chat/search", {"query": "whale", "limit": 2})
        second = await peer.result(
            "chat/search", {"query": "whale", "limit": 2, "cursor": first["nextCursor"]}
        )

    hits = first["hits"] + second["hits"]
    assert second["nextCursor"] is None
    shown = {(hit["chatId"], hit["messageId"], hit["title"], hit["snippet"]) for hit in hits}
    assert len(hits) == 3
    assert shown == {
        (chat, None, "About whales", "About whales"),
        (chat, 1, "About whales", "a whale"),
        (chat, 3, "About whales", "Whales!"),
    }
    assert [hit["score"] for hit in hits] == sorted([hit["score"] for hit in hits], reverse=True)


async def test_what_cannot_be_searched_for_is_refused_by_name(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        for params, path in (
            ({}, "query"),
            ({"query": ""}, "query"),
            ({"query": "x" * 1001}, "query"),
            ({"query": "x", "cursor": "y"}, "cursor"),
            ({"query": "x", "limit": 0}, "limit"),
        ):
            error = await peer.error("chat/search", params)
            assert (error["code"], error["data"]["fields"][0]["path"]) == (-32602, path)
        assert await peer.result("chat/search", {"query": '"((*- nowhereatall \u0000'}) == {
            "hits": [],
            "nextCursor": None,
        }
