"""What the daemon says it serves is what the table says and what answers."""

import subprocess
import sys
from typing import Any

import pytest

from parley_daemon.server.wire.initialize import features, initialize_result
from parley_protocol.methods import METHODS
from parley_protocol.models.server import InitializeResult
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import unix_peer

SETTINGS: dict[str, Any] = {
    "temperature": 0.5,
    "providerOptions": {
        "openai": {"user": "ada"},
        "anthropic": {"thinking": {"budgetTokens": 1024}},
        "google": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]},
        "openrouter": {"provider": {"order": ["a"]}, "reasoning": {}},
    },
}


def test_features_are_the_methods_with_a_handler() -> None:
    served = [name for name, row in METHODS.items() if row.handler is not None]
    assert len(served) > 30
    assert features() == dict.fromkeys(served, True)


def test_answering_initialize_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom parley_daemon.server.wire.initialize import initialize_result, option_problems\n"
        "initialize_result({}), option_problems({})\n"
        "print(*[name for name in ('asyncio', 'anyio', 'msgspec', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_the_answer_to_initialize_is_what_the_protocol_says() -> None:
    result = InitializeResult.model_validate(initialize_result({}))
    assert result.server_info.name == "parleyd"
    assert result.capabilities.experimental.parley.protocol_version == 1


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["utf-8", "utf-16", "utf-32"], "utf-8"),
        (["utf-16", "utf-8"], "utf-16"),
        (["utf-32", "utf-8", "utf-16"], "utf-32"),
        (["wtf-8", 7, "utf-8"], "utf-8"),
        (["wtf-8"], "utf-16"),
        ([], "utf-16"),
        (None, "utf-16"),
        ("utf-8", "utf-16"),
        ({"utf-8": True}, "utf-16"),
    ],
)
def test_the_clients_first_known_position_encoding_is_chosen(offered: Any, chosen: str) -> None:
    params = {"capabilities": {"general": {"positionEncodings": offered}}}
    assert initialize_result(params)["capabilities"]["positionEncoding"] == chosen


@pytest.mark.parametrize("params", [None, [], {}, {"capabilities": None}, {"capabilities": {"general": 7}}])
def test_a_client_that_offers_no_encoding_has_lsps_default(params: Any) -> None:
    assert initialize_result(params)["capabilities"]["positionEncoding"] == "utf-16"


async def test_what_the_daemon_sends_has_every_field_of_its_object(shared_daemon: DaemonProcess) -> None:
    """Each result is read by its wire model and written again: nothing is missing, nothing is extra."""
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(metadata={"a": 1}, settings=SETTINGS)
        ask = {"chatId": chat_id, "content": "/fast hello"}
        calls: list[tuple[str, dict[str, Any]]] = [
            ("chat/ask", ask),
            ("chat/send", ask),
            ("chat/get", {"chatId": chat_id}),
            ("chat/list", {}),
            ("chat/search", {"query": "hello"}),
            ("chat/update", {"chatId": chat_id, "title": "t"}),
            ("chat/setModel", {"chatId": chat_id, "model": "demo:demo"}),
            ("chat/subscribe", {"chatId": chat_id, "partialResultToken": "s"}),
            ("chat/interrupt", {"chatId": chat_id}),
            ("model/list", {}),
            ("server/status", {}),
            ("chat/delete", {"chatIds": [chat_id, "nope"]}),
        ]
        for name, params in calls:
            result = await peer.result(name, params)
            model = METHODS[name].result
            assert model.model_validate(result).to_wire() == result, name
