"""Models named without their provider, and providers without a key, in the methods that name a model."""

from typing import Any

import pytest

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import Script, status
from tests.support.providers.server import FakeProvider, Request, fake_provider

QUIET = "[titles]\nenabled = false\n"
PROVIDER = '[providers.{name}]\ntype = "openai-compat"\nbase_url = "{url}"\n'


def listing(*models: str) -> Script:
    return (status(200, {"data": [{"id": model} for model in models]}),)


def serve(server: FakeProvider, *models: str) -> None:
    def choose(request: Request) -> Script | None:
        return listing(*models) if request.path.endswith("/models") else None

    server.choose = choose


async def test_a_name_that_one_provider_lists_is_accepted_in_every_method() -> None:
    async with fake_provider() as one, fake_provider() as two:
        serve(one, "llama", "both")
        serve(two, "phi", "both")
        providers = PROVIDER.format(name="one", url=one.origin) + PROVIDER.format(name="two", url=two.origin)
        config = f'default_model = "phi"\n{QUIET}{providers}'
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat = await peer.result("chat/create", {"model": "llama"})
            assert chat["model"] == "one:llama"
            assert (await peer.result("chat/create", {}))["model"] == "two:phi"
            assert (await peer.result("model/list"))["defaultModel"] == "two:phi"
            named = {"chatId": chat["id"], "model": "phi"}
            done = await peer.result("chat/ask", {**named, "content": "Hi"})
            assert done["messages"][-1]["model"] == "two:phi"
            assert two.requests[-1].json["model"] == "phi"
            assert (await peer.result("chat/setModel", {**named}))["model"] == "two:phi"
            await refuse_both(peer, chat["id"])


async def refuse_both(peer: Peer, chat_id: str) -> None:
    for method, params in AMBIGUOUS:
        given = params if method == "chat/create" else {"chatId": chat_id, **params}
        error = await peer.error(method, given)
        if "settings" in params:
            assert error["data"]["fields"][0]["path"] == "settings.fallbackModels[0]"
            assert "one:both, two:both" in error["message"]
            continue
        assert (error["code"], error["data"]) == (1006, {"candidates": ["one:both", "two:both"]})
        assert error["message"] == 'Several providers have a model "both"; name one of: one:both, two:both.'


AMBIGUOUS: list[tuple[str, dict[str, Any]]] = [
    ("chat/create", {"model": "both"}),
    ("chat/setModel", {"model": "both"}),
    ("chat/send", {"model": "both", "content": "Hi"}),
    ("chat/ask", {"model": "both", "content": "Hi"}),
    ("chat/retry", {"model": "both"}),
    ("chat/editMessage", {"model": "both", "messageId": 1, "content": "Hi"}),
    ("chat/update", {"settings": {"fallbackModels": ["both"]}}),
    ("chat/create", {"settings": {"fallbackModels": ["both"]}}),
]


async def test_a_fallback_model_without_a_provider_must_be_known() -> None:
    async with fake_provider() as one:
        serve(one, "llama")
        config = QUIET + PROVIDER.format(name="one", url=one.origin)
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            known = ["llama", "one:unlisted", "gone:model"]
            chat_id = await peer.new_chat(model="one:llama", settings={"fallbackModels": known})
            asked = {"chatId": chat_id, "content": "Hi"}
            for method, params in (
                ("chat/create", {}),
                ("chat/update", {"chatId": chat_id}),
                ("chat/ask", asked),
            ):
                error = await peer.error(method, {**params, "settings": {"fallbackModels": ["llama", "x"]}})
                assert error["code"] == -32602
                assert error["data"]["fields"][0]["path"] == "settings.fallbackModels[1]"
                assert '"x"' in error["message"]


@pytest.mark.parametrize("default", [True, False])
async def test_a_provider_without_a_key_is_known_and_named_with_its_variable(default: bool) -> None:
    config = 'default_model = "anthropic:claude"\n' if default else ""
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        chat_id = await peer.new_chat(**({} if default else {"model": "demo:demo"}))
        named: dict[str, Any] = {} if default else {"model": "anthropic:claude"}
        error = await peer.error("chat/ask", {"chatId": chat_id, "content": "Hi", **named})
        assert (error["code"], error["data"]) == (1007, {"reason": "missing_api_key"})
        assert "ANTHROPIC_API_KEY" in error["message"]
        assert "the environment of its start" in error["message"]
        listed = {one["provider"]: one for one in (await peer.result("model/list"))["providers"]}
        assert listed["anthropic"]["unavailableReason"] == "missing_api_key"
        assert listed["anthropic"]["source"] == "supported"
        check = await peer.result("provider/check", {"provider": "anthropic"})
        assert (check["ok"], check["error"]["kind"]) == (False, "missing_key")
