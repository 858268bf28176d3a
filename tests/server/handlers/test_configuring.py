"""provider/… and modelConfig/… over the wire of a real daemon: shapes, refusals, effect, restart."""

import json
from typing import Any

import pytest

from parley_protocol.methods import METHODS
from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import done, finish, status, text
from tests.support.providers.server import fake_provider

WORK = {"provider": "work", "type": "openai-compat", "baseUrl": "http://127.0.0.1:9/v1"}
QUIET = "[titles]\nenabled = false\n"


async def whole(peer: Peer, method: str, params: dict[str, Any] | None = None) -> Any:
    """Call a method; its result has every field of its object and no other."""
    result = await peer.result(method, params or {})
    model = METHODS[method].result
    if model is None:
        assert result is None
    else:
        assert model.model_validate(result).to_wire() == result, method
    return result


async def test_what_is_configured_over_the_wire_is_there_until_it_is_deleted(daemon: DaemonProcess) -> None:
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        made = await whole(peer, "provider/create", {**WORK, "apiKey": " sk-mine\n", "displayName": "Work"})
        assert made == {
            **WORK,
            "displayName": "Work",
            "hasApiKey": True,
            "enabled": True,
            "source": "database",
        }
        model = {"provider": "work", "model": "llama:8b", "contextLimit": 4096, "settings": {"topP": 0.5}}
        config = await whole(peer, "modelConfig/create", model)
        assert (config["isDefault"], config["source"], config["settings"]["topP"]) == (True, "database", 0.5)
    await daemon.restart(kill=True)
    async with unix_peer(daemon.socket) as peer:
        await peer.initialize()
        assert made in (await whole(peer, "provider/list"))["providers"]
        assert (await whole(peer, "modelConfig/list"))["modelConfigs"] == [config]
        assert (await whole(peer, "modelConfig/list", {"provider": "demo"}))["modelConfigs"] == []
        listed = {one["provider"]: one for one in (await whole(peer, "model/list"))["providers"]}
        assert [one["id"] for one in listed["work"]["models"]] == ["work:llama:8b"]
        off = await whole(
            peer,
            "provider/update",
            {"provider": "work", "enabled": False, "displayName": None, "apiKey": None},
        )
        assert off == {**made, "displayName": "work", "enabled": False, "hasApiKey": False}
        changed = await whole(
            peer,
            "modelConfig/update",
            {
                "provider": "work",
                "model": "llama:8b",
                "settings": None,
                "contextLimit": None,
                "pricing": {"inputPerMillion": 1, "outputPerMillion": 2.5},
            },
        )
        assert (changed["settings"], changed["contextLimit"]) == (None, None)
        assert changed["pricing"]["outputPerMillion"] == 2.5
        await whole(peer, "modelConfig/delete", {"provider": "work", "model": "llama:8b"})
        await whole(peer, "provider/delete", {"provider": "work"})
        assert "work" not in str(await whole(peer, "provider/list"))


async def test_what_is_configured_takes_effect_at_once(daemon: DaemonProcess) -> None:
    answer = (text("From the other side."), finish(), done())
    async with fake_provider(answer, answer) as server, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        work = {**WORK, "baseUrl": server.origin, "apiKey": "sk-mine"}
        await peer.result("provider/create", work)
        await peer.result(
            "modelConfig/create", {"provider": "work", "model": "m", "settings": {"temperature": 0.5}}
        )
        chat_id = await peer.new_chat()  # with the default model, which has just become another
        told = await peer.result("chat/ask", {"chatId": chat_id, "content": "Where are you?"})
        assert told["messages"][-1]["content"] == [{"type": "text", "text": "From the other side."}]
        (request, *_) = server.requests
        assert (request.headers["authorization"], request.json["model"]) == ("Bearer sk-mine", "m")
        assert request.json["temperature"] == 0.5
        await peer.result("provider/update", {"provider": "work", "apiKey": ""})
        await peer.result("chat/ask", {"chatId": chat_id, "content": "And now?"})
        assert all("authorization" not in one.headers for one in server.requests[-1:])


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "provider/create",
        {**WORK, "provider": "no spaces"},
        "provider",
        "must begin with a letter or digit, and",
    ),
    ("provider/create", {**WORK, "provider": "work\n"}, "provider", "must begin with a letter or digit, and"),
    ("provider/create", {**WORK, "type": "oracle"}, "type", "must be one of openai, openai-compat, "),
    ("provider/create", {**WORK, "baseUrl": None}, "baseUrl", "is required for a provider of the type"),
    ("provider/create", {**WORK, "baseUrl": "h:80"}, "baseUrl", "must begin with http:// or https://"),
    ("provider/create", {**WORK, "baseUrl": "http://a:b@h"}, "baseUrl", "contains credentials"),
    (
        "provider/create",
        {**WORK, "apiKey": "sk-canary\nX-Evil: 1"},
        "apiKey",
        "characters that an API key cannot have",
    ),
    ("provider/create", {**WORK, "apiKey": "sk-canaryß"}, "apiKey", "characters that an API key cannot have"),
    ("provider/create", {**WORK, "apiKey": 3}, "apiKey", "must be a string"),
    ("provider/create", {**WORK, "colour": "red"}, "colour", "is not a field of these params"),
    ("provider/update", {"provider": "nope"}, "provider", 'There is no provider "nope"; there are: '),
    ("provider/delete", {"provider": "nope"}, "provider", 'There is no provider "nope"; there are: '),
    ("modelConfig/list", {"provider": "nope"}, "provider", 'There is no provider "nope"; there are: '),
    ("modelConfig/create", {"provider": "nope", "model": "m"}, "provider", 'There is no provider "nope"'),
    ("modelConfig/create", {"provider": "demo", "model": ""}, "model", "must have 1 or more characters"),
    (
        "modelConfig/create",
        {"provider": "demo", "model": "m", "contextLimit": 0},
        "contextLimit",
        "must be 1 or more",
    ),
    (
        "modelConfig/create",
        {"provider": "demo", "model": "m", "settings": {"colour": 1}},
        "settings.colour",
        "is not a field",
    ),
    (
        "modelConfig/create",
        {"provider": "demo", "model": "m", "pricing": {"inputPerMillion": 1}},
        "pricing.outputPerMillion",
        "is needed beside the other prices",
    ),
    (
        "modelConfig/create",
        {"provider": "demo", "model": "m", "pricing": {"inputPerMillion": -1, "outputPerMillion": 1}},
        "pricing.inputPerMillion",
        "must be 0 or more",
    ),
    (
        "modelConfig/create",
        {"provider": "demo", "model": "m", "enabled": False, "isDefault": True},
        "isDefault",
        "cannot be true of a model that is switched off",
    ),
    (
        "modelConfig/create",
        {"provider": "demo", "model": "m", "settings": {"agent": {"mode": "auto"}}},
        "settings.agent",
        "belongs to a chat or a turn",
    ),
    *(
        (
            method,
            {"provider": "demo", "model": "m", "settings": {"outputSchema": {"type": "nonsense"}}},
            "settings.outputSchema.type",
            'or a list of these, not "nonsense"',
        )
        for method in ("modelConfig/create", "modelConfig/update")
    ),
]


@pytest.mark.parametrize(("method", "params", "path", "problem"), REFUSED, ids=lambda one: str(one)[:40])
async def test_what_cannot_be_configured_names_the_field_and_no_key(
    shared_daemon: DaemonProcess, method: str, params: dict[str, Any], path: str, problem: str
) -> None:
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        error = await peer.error(method, params)
        assert error["code"] == -32602
        (field,) = error["data"]["fields"]
        assert field["path"] == path
        assert problem in field["problem"]
        assert "canary" not in json.dumps(error)


async def test_the_codes_of_what_is_there_already_not_there_or_set_elsewhere() -> None:
    config = '[providers.local]\ntype = "openai-compat"\nbase_url = "http://h"\n[models."local:llama"]\n'
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        local, llama = {"provider": "local"}, {"provider": "local", "model": "llama"}
        await peer.result("provider/create", WORK)
        for method, params, code in (
            ("provider/create", WORK, 1011),
            ("provider/create", {**WORK, **local}, 1011),
            ("provider/update", {**local, "enabled": False}, 1009),
            ("provider/delete", local, 1009),
            ("modelConfig/create", llama, 1011),
            ("modelConfig/update", {**llama, "enabled": False}, 1009),
            ("modelConfig/delete", llama, 1009),
        ):
            error = await peer.error(method, params)
            assert error["code"] == code, (method, error)
            if params.get("provider") == "local":
                assert str(daemon.config_path) in error["message"]
        error = await peer.error("modelConfig/delete", {"provider": "local", "model": "phi"})
        assert (error["code"], error["message"]) == (1006, 'The model "local:phi" is not configured.')


async def test_a_provider_is_checked_over_the_wire() -> None:
    async with fake_provider((status(401, {"error": {"message": "Who are you?"}}),)) as server:
        config = f"""[providers.x]\ntype = "openai-compat"\nbase_url = "{server.origin}"\n"""
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            told = await whole(peer, "provider/check", {"provider": "x"})
            assert (told["ok"], told["method"], told["url"]) == (False, "GET", f"{server.origin}/v1/models")
            assert (told["statusCode"], told["answer"]) == (401, '{"error": {"message": "Who are you?"}}')
            assert told["error"]["message"] == "x requires an API key, but none is configured."
            assert (await whole(peer, "provider/check", {"provider": "demo"}))["ok"]
            error = await peer.error("provider/check", {"provider": "nope"})
            assert (error["code"], error["data"]["fields"][0]["path"]) == (-32602, "provider")


async def test_what_the_configuration_holds_of_credentials_is_not_shown() -> None:
    config = '[providers.x]\ntype = "openai-compat"\nbase_url = "https://me:canary-1@h/v1?api-key=canary-2"\n'
    async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        (shown, *_) = (await peer.result("provider/list"))["providers"]
        assert shown["baseUrl"] == "https://[removed]@h/v1?api-key=[removed]"


async def test_the_settings_of_a_model_in_the_file_are_those_of_the_protocol() -> None:
    config = f"""
        {QUIET}
        [providers.x]
        type = "openai-compat"
        base_url = "BASE"
        [models."x:m".settings]
        temperature = 1
        max_output_tokens = 7
        providerOptions.openaiCompat = {{ extraBody = {{ num_ctx = 8192 }} }}
        [models."x:off"]
        enabled = false
    """
    async with fake_provider() as server:  # its address is in the configuration
        place = running_daemon(config=config.replace("BASE", server.origin))
        async with place as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat(settings={"temperature": 0.5})
            await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
            sent = server.requests[0].json
            assert (sent["temperature"], sent["num_ctx"]) == (0.5, 8192)
            assert 7 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
            error = await peer.error("chat/setModel", {"chatId": chat_id, "model": "x:off"})
            assert (error["code"], error["data"]) == (1007, {"reason": "disabled"})
            configs = (await peer.result("modelConfig/list"))["modelConfigs"]
            assert [(one["model"], one["enabled"], one["isDefault"]) for one in configs] == [
                ("m", True, True),
                ("off", False, False),
            ]


async def test_a_store_that_cannot_be_used_leaves_what_is_set_elsewhere(places: dict[str, str]) -> None:
    from pathlib import Path

    from tests.support.processes.raw_client import stdio_peer

    Path(places["PARLEY_DATA_DIR"]).write_text("a file where the folder should be", "ascii")
    async with stdio_peer(places) as peer:
        await peer.initialize()
        assert "demo" in str(await peer.result("provider/list"))
        assert (await peer.result("modelConfig/list"))["modelConfigs"] == []
        assert (await peer.error("provider/create", WORK))["code"] == 1013
