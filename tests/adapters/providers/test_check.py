"""provider/check: what is tried, and what somebody learns whose set-up does not work."""

import json
from collections.abc import Callable, Sequence

import anyio
import pytest

from parley_daemon.adapters.providers import check, provider
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.adapters.providers.provider_type import ProviderType
from parley_daemon.adapters.providers.shared.model_list import ListedModel
from parley_daemon.ports.catalogue import ProviderCheck, ProviderUnavailableError
from parley_daemon.ports.models import Model
from tests.support.providers.script import Action, done, drop, finish, raw, silence, status, text
from tests.support.providers.server import FakeProvider, fake_provider

CANARY = "sk-canary-0123456789abcdef"
LIST = {"object": "list", "data": [{"id": "llama"}]}
NO_LIST = status(404, {"detail": "Not Found"})


def at(server: FakeProvider, *models: str, type: str = "openai-compat") -> ConfiguredCatalogue:
    version = "" if type == "azure" else "/v1"
    config = ProviderConfig("x", type, f"{server.origin}{version}?api-key={CANARY}", api_key=CANARY)
    return ConfiguredCatalogue([config], [ModelConfig(f"x:{one}") for one in models])


async def checked(catalogue: ConfiguredCatalogue, name: str = "x") -> ProviderCheck:
    with anyio.fail_after(30):
        told = await catalogue.check(name)
    assert told is not None
    assert CANARY not in repr(told)
    return told


async def test_a_provider_that_lists_its_models_is_fine_and_what_it_lists_is_known() -> None:
    async with fake_provider((status(200, LIST),)) as server:
        catalogue = at(server)
        told = await checked(catalogue)
        assert (told.ok, told.method, told.url, told.status_code, told.error) == (
            True,
            "GET",
            f"{server.origin}/v1/models",
            200,
            None,
        )
        assert told.answer == json.dumps(LIST)
        assert [one.id for one in catalogue.providers()[0].models] == ["x:llama"]
        assert catalogue.pending_refreshes() == []
        await server.idle()


async def test_without_a_list_a_configured_model_says_one_token() -> None:
    async with fake_provider((NO_LIST,), (text("Hel"), finish("length"), done())) as server:
        told = await checked(at(server, "llama", "phi"))
        assert (told.ok, told.method, told.url) == (True, "POST", f"{server.origin}/v1/chat/completions")
        assert (told.status_code, told.answer) == (200, "Hel")
        sent = server.requests[1].json
        assert (sent["model"], sent["max_tokens"]) == ("llama", 1)
        await server.idle()


async def test_a_model_that_does_not_answer_says_why() -> None:
    refusal = {"error": {"message": f'model "llama" not found, {CANARY}'}}
    async with fake_provider((NO_LIST,), (status(404, refusal),)) as server:
        told = await checked(at(server, "llama"))
        assert (told.ok, told.status_code) == (False, 404)
        assert told.error is not None
        assert (told.error.kind, told.error.message) == ("model_not_found", 'x has no model "llama".')
        assert told.answer == 'model "llama" not found, [removed]'


async def test_without_a_list_and_without_a_model_it_says_what_to_do() -> None:
    async with fake_provider((NO_LIST,)) as server:
        told = await checked(at(server))
        assert (told.ok, told.status_code, told.answer) == (False, 404, '{"detail": "Not Found"}')
        assert told.error is not None
        assert "no model is configured. Configure one, then check again." in told.error.message


REFUSED = {
    "a wrong key": (
        status(401, {"error": f"bad key {CANARY}"}),
        "auth",
        401,
        "does not accept",
    ),
    "an outage": (status(500, "<html><title>Oops</title></html>"), "overloaded", 500, "failed while it was"),
    "a web page": (
        status(200, "<html>Hello</html>"),
        "bad_stream",
        200,
        "answers with a web page",
    ),
}


@pytest.mark.parametrize(("answer", "kind", "code", "words"), REFUSED.values(), ids=list(REFUSED))
async def test_what_goes_wrong_is_told_with_what_came_back(
    answer: Action, kind: str, code: int, words: str
) -> None:
    async with fake_provider((answer,)) as server:
        told = await checked(at(server, "llama"))
        assert told.error is not None
        assert (told.ok, told.status_code, told.error.kind) == (False, code, kind)
        assert words in told.error.message
        assert told.answer
        assert len(server.requests) == 1


async def test_a_server_that_is_not_there_or_does_not_speak_is_named() -> None:
    config = ProviderConfig("x", base_url="http://127.0.0.1:9")
    told = await checked(ConfiguredCatalogue([config]))
    assert (told.url, told.status_code, told.answer) == ("http://127.0.0.1:9/v1/models", None, None)
    assert told.error is not None
    assert told.error.message == "Nothing answers at http://127.0.0.1:9. Is the server running?"
    async with fake_provider((drop(),), (drop(),)) as server:
        told = await checked(at(server))
        assert told.error is not None
        assert told.error.kind == "network"


async def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "GET_SECONDS", 0.2)
    monkeypatch.setattr(check, "CHAT_SECONDS", 0.2)
    async with fake_provider((silence(),), (NO_LIST,), (silence(),)) as server:
        catalogue = at(server, "llama")
        for method in ("GET", "POST"):
            told = await checked(catalogue)
            assert told.error is not None
            assert (told.method, told.error.kind) == (method, "timeout")
            assert told.error.message == "x did not answer within 0.2 s."
        await server.idle()


async def test_a_long_answer_is_cut_behind_its_first_lines() -> None:
    body = "[\n" + ",\n".join([json.dumps({"id": f"m{number}"}) for number in range(50)]) + "\n]"
    async with fake_provider((status(200, body),), (raw(b'["' + b"a" * 50_000 + b'"]'),)) as server:
        told = await checked(at(server))
        assert told.answer is not None
        assert told.answer.startswith('[\n{"id": "m0"},\n')
        assert (len(told.answer.splitlines()), told.answer[-2:]) == (12, " …")
        told = await checked(at(server))
        assert told.answer is not None
        assert len(told.answer) < 1010


async def test_where_the_list_proves_nothing_the_key_is_proved_first() -> None:
    key = {"data": {"label": "sk-or-v1-0e6...1c96", "usage": 1}}
    async with fake_provider((status(200, key),), (status(200, LIST),)) as server:
        assert (await checked(at(server, type="openrouter"))).ok
        assert [one.path.partition("?")[0] for one in server.requests] == ["/v1/key", "/v1/models"]
    async with fake_provider((status(401, {"error": {"message": "No"}}),)) as server:
        told = await checked(at(server, type="openrouter"))
        assert (told.ok, told.url, told.status_code) == (False, f"{server.origin}/v1/key", 401)
    async with fake_provider((status(200, {"balance": "1"}),), (status(200, LIST),)) as server:
        assert (await checked(at(server, type="vercel"))).ok
        assert server.requests[0].path.startswith("/v1/credits")


async def test_azures_key_is_proved_by_what_could_be_deployed() -> None:
    async with fake_provider((status(200, LIST),)) as server:
        told = await checked(at(server, type="azure"))
        assert (told.ok, told.url) == (True, f"{server.origin}/openai/v1/models")
        assert server.requests[0].headers["api-key"] == CANARY


async def test_what_is_wrong_before_anything_is_asked_is_told_as_such() -> None:
    catalogue = ConfiguredCatalogue(
        [ProviderConfig("keyless", "openai"), ProviderConfig("off", base_url="http://h", enabled=False)]
    )
    told = await checked(catalogue, "keyless")
    assert told.error is not None
    assert (told.ok, told.method, told.url, told.error.kind) == (False, None, None, "missing_key")
    assert "OPENAI_API_KEY" in told.error.message
    told = await checked(catalogue, "off")
    assert told.error is not None
    assert "switched off" in told.error.message
    assert await catalogue.check("nobody") is None


async def test_the_demo_is_always_fine() -> None:
    assert await checked(ConfiguredCatalogue(), "demo") == ProviderCheck(
        ok=True, answer="It is built in and needs neither key nor network."
    )


async def test_a_check_that_is_given_up_leaves_nothing_open() -> None:
    async with fake_provider((silence(),), (NO_LIST,), (silence(),)) as server:
        catalogue = at(server, "llama")
        with anyio.fail_after(30):
            for count in (1, 3):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(catalogue.check, "x")
                    await server.requested(count)
                    tasks.cancel_scope.cancel()
            await server.idle()


def _broken(*_: object) -> Model:
    raise KeyError("region")


async def _broken_later(*_: object) -> Sequence[ListedModel]:
    raise KeyError("region")


BROKEN = {
    "its model": ProviderType("own", "Own", _broken, package="theirs"),
    "its list": ProviderType("own", "Own", _broken, list_models=_broken_later, package="theirs"),
    "its proof": ProviderType("own", "Own", _broken, verify_key=_broken_later, package="theirs"),
}


@pytest.mark.parametrize("row", BROKEN.values(), ids=list(BROKEN))
async def test_a_type_that_raises_what_it_may_not_is_named_with_its_package(
    row: ProviderType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    find: Callable[[str], ProviderType] = lambda name: row  # noqa: E731 - typed
    monkeypatch.setattr(provider, "find_type", find)
    config = ProviderConfig("x", "own", "http://127.0.0.1:9", CANARY)
    catalogue = ConfiguredCatalogue([config], [ModelConfig("x:m")])
    told = await checked(catalogue)
    assert told.error is not None
    failed = 'its provider type "own" (package theirs) failed; see the daemon\'s log for details.'
    assert (told.ok, told.error.kind) == (False, "internal")
    assert told.error.message == f"x cannot be checked: {failed}"
    with pytest.raises(ProviderUnavailableError) as caught:
        catalogue.resolve("x:m")
    assert str(caught.value) == f'Provider "x" cannot be used: {failed}'
    assert caplog.text.count("KeyError: 'region'") == 2
