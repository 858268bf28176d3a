"""Params that are refused by a real daemon: each names its fields, and nothing is the worse for it."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import ValidationError

from parley_daemon.server.wire.initialize import option_problems
from parley_daemon.server.wire.surrogates import fields_with_lone_surrogates
from parley_protocol.fold import plain_text
from parley_protocol.models.base import field_problems
from parley_protocol.models.server import InitializeParams
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, stdio_peer, tcp_peer, unix_peer

INVALID_PARAMS = -32602


@pytest.fixture
async def peer(shared_daemon: DaemonProcess) -> AsyncGenerator[Peer]:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        yield peer


async def test_an_unusable_file_is_refused_and_leaves_the_chat_as_it_was(peer: Peer) -> None:
    chat_id = await peer.new_chat()
    first = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast one"})
    for bad, field in [({"data": "!!!"}, "data"), ({"mediaType": "", "url": ""}, "mediaType")]:
        file = {"type": "file", "mediaType": "image/png", **bad}
        for method, more in [
            ("chat/send", {}),
            ("chat/ask", {}),
            ("chat/editMessage", {"messageId": first["messages"][0]["parentId"]}),
        ]:
            params = {"chatId": chat_id, "content": [file], **more}
            refused = await peer.error(method, params)
            assert refused["code"] == INVALID_PARAMS
            assert refused["data"]["fields"][0]["path"] == f"content[0].{field}"
    later = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast two"})
    assert plain_text(later["messages"][0]["content"])
    assert len((await peer.result("chat/get", {"chatId": chat_id}))["messages"]) == 4


HALF = "\ud800"
UNICODE, KEY = "must be valid Unicode", "has a key that is not valid Unicode"


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        ({"chatId": HALF}, [("chatId", UNICODE)]),
        (
            {"chatId": "c", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": f"b{HALF}"}]},
            [("content[1].text", UNICODE)],
        ),
        ({"b": {"d": [[], [HALF]]}, "a": "\udfff\ud800"}, [("b.d[1][0]", UNICODE), ("a", UNICODE)]),
        ({"metadata": {HALF: 1, "ok": HALF}}, [("metadata", KEY), ("metadata.ok", UNICODE)]),
        ({HALF: {"a": HALF}}, [("", KEY)]),
        ({"a": [HALF] * 100}, [(f"a[{at}]", UNICODE) for at in range(20)]),
    ],
)
async def test_half_a_surrogate_pair_is_refused_by_the_path_of_its_field(
    peer: Peer, params: dict[str, Any], fields: list[tuple[str, str]]
) -> None:
    refused = await peer.error("chat/send", params)
    assert refused["code"] == INVALID_PARAMS
    assert [(field["path"], field["problem"]) for field in refused["data"]["fields"]] == fields


def test_half_a_pair_is_found_however_deep_it_stands() -> None:
    deep: list[Any] = [HALF]
    for _ in range(10_000):
        deep = [deep]
    (field,) = fields_with_lone_surrogates(deep)
    assert len(field["path"]) == 200


# ------------------------------------------------------------------------- initialize

WRONG_INTERVALS: list[object] = [-1, 60_001, "x", "5", 1.5, True, []]
BAD_OPTIONS: list[tuple[Any, list[str]]] = [
    ({"clientName": 5}, [".clientName"]),
    ({"clientName": ["a"]}, [".clientName"]),
    ({"token": 7}, [".token"]),
    *[({"minIntervalMs": given}, [".minIntervalMs"]) for given in WRONG_INTERVALS],
    ({"minIntervalMs": -1, "clientName": {}, "bogus": 1}, [".clientName", ".minIntervalMs"]),
    ([], [""]),
    ("fast", [""]),
]
GOOD_OPTIONS: list[Any] = [
    None,
    {},
    {"token": None, "clientName": None, "minIntervalMs": None},
    {"clientName": "", "minIntervalMs": 0},
    {"minIntervalMs": 60_000},
    {"bogus": 1, "min_interval_ms": -1, "editor": {"theme": "dark"}},
]


@pytest.mark.parametrize("options", [*GOOD_OPTIONS, *[one for one, _ in BAD_OPTIONS]])
def test_options_are_held_against_what_the_wire_model_says(options: Any) -> None:
    params: dict[str, Any] = {"capabilities": {}, "initializationOptions": options}
    wanted: list[dict[str, Any]] = []
    try:
        InitializeParams.model_validate(params, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        wanted = [problem.to_wire() for problem in field_problems(error)]
    assert option_problems(params) == wanted


@pytest.mark.parametrize(("options", "fields"), BAD_OPTIONS)
async def test_options_of_a_wrong_kind_are_refused_and_the_client_may_try_again(
    shared_daemon: DaemonProcess, options: Any, fields: list[str]
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        refused = await peer.error("initialize", {"initializationOptions": options})
        assert refused["code"] == INVALID_PARAMS
        paths = [field["path"] for field in refused["data"]["fields"]]
        assert paths == [f"initializationOptions{field}" for field in fields]
        assert (await peer.error("chat/list"))["code"] == -32002
        await peer.initialize(clientName="again", bogus=1)
        await peer.alive()


@pytest.mark.parametrize("options", [{"minIntervalMs": "x"}, {"clientName": "\ud800"}])
async def test_a_process_that_was_just_started_refuses_them_too(
    places: dict[str, str], options: dict[str, Any]
) -> None:
    async with stdio_peer(places) as peer:
        refused = await peer.error("initialize", {"initializationOptions": options})
        assert refused["code"] == INVALID_PARAMS
        await peer.initialize(minIntervalMs=5)
        await peer.alive()


async def test_over_tcp_the_token_is_looked_at_first(shared_daemon: DaemonProcess) -> None:
    async with tcp_peer(shared_daemon.tcp) as peer:
        refused = await peer.error("initialize", {"initializationOptions": {"minIntervalMs": "x"}})
        assert refused["code"] == 1008
    async with tcp_peer(shared_daemon.tcp) as peer:
        options = {"token": shared_daemon.token, "minIntervalMs": "x"}
        assert (await peer.error("initialize", {"initializationOptions": options}))["code"] == INVALID_PARAMS
        await peer.initialize(token=shared_daemon.token)


async def test_params_of_initialize_are_an_object(shared_daemon: DaemonProcess) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        assert (await peer.error("initialize", [1]))["data"]["fields"][0]["path"] == ""
        await peer.result("initialize")
