"""Context, archive, fork, export and import over the wire, against a real daemon."""

import json
from typing import Any

import anyio
import pytest

from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS
from parley_protocol.models.exports import CONTENT_LIMIT
from tests.server.files.test_chat_files import without_ids
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer


async def talk(peer: Peer, chat_id: str, *questions: str) -> None:
    """Ask in a chat, one question after the other."""
    for question in questions:
        await peer.result("chat/ask", {"chatId": chat_id, "content": f"/fast {question}"})


async def exported(peer: Peer, chat_id: str, format: str = "json") -> str:
    result = await peer.result("chat/export", {"chatId": chat_id, "format": format})
    assert result.keys() == {"content"}
    return result["content"]


async def test_what_these_methods_answer_has_every_field_of_its_object(peer: Peer) -> None:
    chat_id = await peer.new_chat(title="Plan")
    await talk(peer, chat_id, "one")
    text = await exported(peer, chat_id)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("chat/setContext", {"chatId": chat_id, "files": ["file:///a"]}),
        ("chat/archive", {"chatId": chat_id}),
        ("chat/unarchive", {"chatId": chat_id}),
        ("chat/fork", {"chatId": chat_id}),
        ("chat/export", {"chatId": chat_id, "format": "markdown"}),
        ("chat/import", {"content": text}),
        ("chat/import", {"content": text, "merge": True}),
    ]
    for name, params in calls:
        result = await peer.result(name, params)
        assert METHODS[name].result.model_validate(result).to_wire() == result, name


async def test_a_context_changes_where_it_was_given_and_is_told(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(context={"include": ["*.py"], "files": ["file:///a"]})
        await peer.subscribe(chat_id)
        given = {"chatId": chat_id, "repositories": ["file:///r"], "files": None}
        context = (await peer.result("chat/setContext", given))["context"]
        assert context == {
            "repositories": ["file:///r"],
            "include": ["*.py"],
            "exclude": [],
            "files": [],
            "chosen": True,
        }
        assert (await peer.event("s", "chat"))["chat"]["context"] == context
        listed = await peer.result("chat/list", {"cwd": "file:///r"})
        for same in ({"cwd": "file:///r/"}, {"cwd": "file:///", "below": True}):
            assert [one["id"] for one in (await peer.result("chat/list", same))["chats"]] == [chat_id]
        assert (await peer.result("chat/list", {"cwd": "file:///"}))["total"] == 0
        refused = await peer.error("chat/list", {"cwd": "/r"})
        assert (refused["code"], refused["data"]["fields"][0]["path"]) == (-32602, "cwd")
        assert [chat["id"] for chat in listed["chats"]] == [chat_id]
        assert (await peer.result("chat/setContext", {"chatId": chat_id}))["context"] == context
        error = await peer.error("chat/setContext", {"chatId": chat_id, "repositories": ["/home/ada"]})
        assert error["data"]["fields"][0]["path"] == "repositories[0]"
        assert (await peer.result("chat/get", {"chatId": chat_id}))["chat"]["context"] == context
        error = await peer.error("chat/setContext", {"chatId": chat_id, "files": "file:///a"})
        assert error["code"] == ErrorCode.INVALID_PARAMS
        assert (await peer.error("chat/setContext", {"chatId": "nobody"}))["code"] == ErrorCode.CHAT_NOT_FOUND


async def test_a_uri_of_a_context_in_two_spellings_is_kept_once(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        folders = ["file:///c%3A/r%5B1%5D", "file:///C:/r%5b1%5d/", "file:///c:/other"]
        files = ["file:///~/(a)", "file:///%7E/%28a%29"]
        chat = await peer.result("chat/create", {"context": {"repositories": folders}})
        assert chat["context"]["repositories"] == [folders[0], folders[2]]
        given = {"chatId": chat["id"], "repositories": folders[1:], "files": files}
        context = (await peer.result("chat/setContext", given))["context"]
        assert (context["repositories"], context["files"]) == (folders[1:], files[:1])
        await peer.result("chat/delete", {"chatIds": [chat["id"]]})


async def test_archiving_tells_every_chat_of_the_family_and_every_watcher(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer, unix_peer(shared_daemon.socket) as other:
        await peer.initialize()
        await other.initialize()
        root = await peer.new_chat()
        child = await peer.new_chat(parentChatId=root)
        await peer.subscribe(child)
        await other.result("chat/watch", {"partialResultToken": "w"})
        assert (await other.result("chat/archive", {"chatId": root}))["archived"] is True
        assert (await peer.event("s", "chat"))["chat"]["archived"] is True
        for id in (root, child):
            await other.event("w", "changed", lambda value, id=id: value["chat"]["id"] == id)
        listed = await peer.result("chat/list", {"archived": True, "parentChatId": root})
        assert [chat["id"] for chat in listed["chats"]] == [child]

        ask = {"chatId": child, "content": "Hi"}
        for method, params, code in (
            ("chat/archive", {"chatId": root}, ErrorCode.CONFLICT),
            ("chat/unarchive", {"chatId": child}, ErrorCode.CONFLICT),
            ("chat/send", ask, ErrorCode.CHAT_ARCHIVED),
            ("chat/ask", ask, ErrorCode.CHAT_ARCHIVED),
            ("chat/create", {"parentChatId": root}, ErrorCode.CHAT_ARCHIVED),
            ("chat/archive", {"chatId": "nobody"}, ErrorCode.CHAT_NOT_FOUND),
        ):
            assert (await peer.error(method, params))["code"] == code, method
        assert (await peer.result("chat/unarchive", {"chatId": root}))["archived"] is False
        await talk(peer, child, "hello")


async def test_pinning_is_told_to_subscribers_and_watchers_and_filters_lists(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer, unix_peer(shared_daemon.socket) as other:
        await peer.initialize()
        await other.initialize()
        chat_id = await peer.new_chat()
        child = await peer.new_chat(parentChatId=chat_id)
        await peer.subscribe(chat_id)
        await other.result("chat/watch", {"partialResultToken": "w"})
        before = (await peer.result("chat/get", {"chatId": chat_id}))["chat"]
        assert before["pinned"] is False
        for pinned in (True, False, True):
            answered = await other.result("chat/pin", {"chatId": chat_id, "pinned": pinned})
            again = await other.result("chat/pin", {"chatId": chat_id, "pinned": pinned})
            assert again == answered == {**before, "pinned": pinned, "lastSeq": answered["lastSeq"]}
            told = await peer.event("s", "chat", lambda value, seq=answered["lastSeq"]: value["seq"] == seq)
            assert told["chat"] == answered
            await other.event("w", "changed", lambda value, chat=answered: value["chat"] == chat)
        for pinned, found in ((True, {chat_id}), (False, {child}), (None, {chat_id, child})):
            listed = (await peer.result("chat/list", {"pinned": pinned, "limit": 200}))["chats"]
            assert {chat["id"] for chat in listed} & {chat_id, child} == found
        for params, code in (
            ({"chatId": "nobody", "pinned": True}, ErrorCode.CHAT_NOT_FOUND),
            ({"chatId": chat_id}, ErrorCode.INVALID_PARAMS),
            ({"chatId": chat_id, "pinned": None}, ErrorCode.INVALID_PARAMS),
        ):
            assert (await peer.error("chat/pin", params))["code"] == code


async def test_a_pinned_chat_is_exported_so_and_a_file_without_it_is_not_pinned(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    await peer.result("chat/pin", {"chatId": chat_id, "pinned": True})
    file = json.loads(await exported(peer, chat_id))
    assert (await peer.result("chat/import", {"content": json.dumps(file)}))["pinned"] is True
    del file["chat"]["pinned"]
    assert (await peer.result("chat/import", {"content": json.dumps(file)}))["pinned"] is False


async def test_a_busy_chat_is_not_archived_and_can_be_forked_while_it_streams(
    shared_daemon: DaemonProcess,
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        root = await peer.new_chat()
        child = await peer.new_chat(parentChatId=root)
        await peer.subscribe(child)
        await peer.result("chat/send", {"chatId": child, "content": "/forever"})
        await peer.event("s", "message_part")
        assert (await peer.error("chat/archive", {"chatId": root}))["code"] == ErrorCode.CHAT_BUSY
        fork = await peer.result("chat/fork", {"chatId": child})
        assert fork["forkedFrom"] == {"chatId": child, "messageId": 1}
        shown = await peer.result("chat/get", {"chatId": fork["id"]})
        assert [message["role"] for message in shown["messages"]] == ["user"]
        assert shown["preview"] is None
        await peer.result("chat/interrupt", {"chatId": child})
        await peer.event("s", "turn_ended")
        assert (await peer.result("chat/archive", {"chatId": root}))["archived"] is True


async def test_a_fork_at_a_message_that_is_not_there_is_1002(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    assert (await peer.error("chat/fork", {"chatId": chat_id}))["code"] == ErrorCode.MESSAGE_NOT_FOUND
    await talk(peer, chat_id, "one", "two")
    missing = await peer.error("chat/fork", {"chatId": chat_id, "messageId": 9})
    assert missing["code"] == ErrorCode.MESSAGE_NOT_FOUND
    fork = await peer.result("chat/fork", {"chatId": chat_id, "messageId": 3})
    assert fork["lastMessageId"] == 3


async def test_an_exported_chat_goes_to_another_daemon_and_back(
    daemon: DaemonProcess, shared_daemon: DaemonProcess
) -> None:
    async with unix_peer(shared_daemon.socket) as here, unix_peer(daemon.socket) as there:
        await here.initialize()
        await there.initialize()
        settings = {"temperature": 0.5, "providerOptions": {"openaiCompat": {"user": "me"}}}
        chat_id = await here.new_chat(title="Plan", settings=settings, metadata={"a": [1, None]})
        await talk(here, chat_id, "one", "two")
        text = await exported(here, chat_id)
        chat = await there.result("chat/import", {"content": text})
        assert chat["id"] != chat_id
        again = await exported(there, chat["id"])
        assert without_ids(again) == without_ids(text)
        await daemon.restart(kill=True)
        async with unix_peer(daemon.socket) as later:
            await later.initialize()
            assert await exported(later, chat["id"]) == again
            await talk(later, chat["id"], "three")
            shown = await later.result("chat/get", {"chatId": chat["id"]})
            assert [message["id"] for message in shown["messages"]] == [1, 2, 3, 4, 5, 6]
        back = await here.result("chat/import", {"content": again})
        assert without_ids(await exported(here, back["id"])) == without_ids(text)


async def test_every_branch_is_exported_and_can_be_chosen_in_the_import(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    await talk(peer, chat_id, "one")
    await peer.subscribe(chat_id)
    retried = await peer.result("chat/retry", {"chatId": chat_id})
    await peer.event("s", "turn_ended", lambda value: value["turnId"] == retried["turnId"])
    text = await exported(peer, chat_id)
    assert [one["parentId"] for one in json.loads(text)["messages"]] == [None, 1, 1]
    assert (await exported(peer, chat_id, "markdown")).count("## Assistant") == 1
    copy = await peer.result("chat/import", {"content": text})
    shown = await peer.result("chat/get", {"chatId": copy["id"]})
    assert [(one["id"], one["siblings"]) for one in shown["messages"]] == [(1, [1]), (3, [2, 3])]
    await peer.result("chat/selectBranch", {"chatId": copy["id"], "messageId": 2})
    shown = await peer.result("chat/get", {"chatId": copy["id"]})
    assert [one["id"] for one in shown["messages"]] == [1, 2]
    fork = await peer.result("chat/fork", {"chatId": copy["id"], "messageId": 3})
    forked = await peer.result("chat/get", {"chatId": fork["id"]})
    assert [(one["id"], one["siblings"]) for one in forked["messages"]] == [(1, [1]), (2, [2])]


async def test_a_file_that_is_no_export_is_refused_and_nothing_is_there_of_it(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    await talk(peer, chat_id, "one")
    file = json.loads(await exported(peer, chat_id))
    before = (await peer.result("server/status"))["chats"]
    newer = json.dumps({**file, "version": 99})
    broken = json.dumps({**file, "messages": [*file["messages"], {"id": 7}]})
    markdown = await exported(peer, chat_id, "markdown")
    for content in ("", "{", newer, broken, markdown):
        for merge in (False, True):
            error = await peer.error("chat/import", {"content": content, "merge": merge})
            assert error["code"] == ErrorCode.INVALID_PARAMS
            assert error["data"]["fields"][0]["path"] == "content"
    assert (await peer.result("server/status"))["chats"] == before
    assert json.loads(await exported(peer, chat_id)) == file


async def test_markdown_shows_the_active_branch(peer: Peer) -> None:
    chat_id = await peer.new_chat(title="My plan", systemPrompt="Be brief.")
    await talk(peer, chat_id, "hello")
    text = await exported(peer, chat_id, "markdown")
    assert text.startswith("# My plan\n\n*demo:demo · ")
    assert "> Be brief." in text
    assert "\n## User\n\n/fast hello\n\n## Assistant · demo:demo\n\n" in text


async def test_unknown_chats_and_formats_are_refused(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    wrong = await peer.error("chat/export", {"chatId": chat_id, "format": "pdf"})
    assert wrong["code"] == ErrorCode.INVALID_PARAMS
    for format in ("json", "markdown"):
        gone = await peer.error("chat/export", {"chatId": "nobody", "format": format})
        assert gone["code"] == ErrorCode.CHAT_NOT_FOUND


@pytest.mark.slow
async def test_a_chat_as_big_as_may_be_goes_out_and_in_and_a_bigger_one_is_1010(
    daemon: DaemonProcess,
) -> None:
    """Text of quotation marks and backslashes takes the most room: each is escaped twice."""
    block = '"\\' * (CONTENT_LIMIT // 40)
    said = {"role": "user", "content": block}
    async with unix_peer(daemon.socket, check=False) as peer, unix_peer(daemon.socket) as other:
        await peer.initialize()
        await other.initialize()
        fits = await peer.new_chat(messages=[said] * 9)
        text = await exported(peer, fits)
        assert len(text.encode()) > CONTENT_LIMIT * 0.85
        await other.alive()
        copy = await peer.result("chat/import", {"content": text})
        same = without_ids(await exported(peer, copy["id"])) == without_ids(text)
        assert same, "too long to be shown"
        big = await peer.new_chat(messages=[said] * 11)
        error = await peer.error("chat/export", {"chatId": big, "format": "json"})
        assert (error["code"], error["data"]) == (ErrorCode.LIMIT_EXCEEDED, {"limit": CONTENT_LIMIT})
        with anyio.fail_after(30):
            await other.alive()
