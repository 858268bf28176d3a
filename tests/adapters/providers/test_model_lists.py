"""Which models a catalogue knows of by asking: over real HTTP, kept for a while, in nobody's way."""

import logging
from collections.abc import Awaitable, Callable

import anyio
import pytest

from parley_daemon.adapters.providers import model_lists
from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.merge import ModelConfig
from parley_daemon.adapters.providers.model_lists import FAILED_SECONDS, KEPT_SECONDS, ModelLists
from parley_daemon.adapters.providers.provider import ProviderConfig
from parley_daemon.core.records import Timeouts
from parley_daemon.ports.catalogue import ModelInfo, Overlay, PendingRefresh, ProviderInfo
from tests.support.engine.records import a_model, a_provider
from tests.support.providers.script import Action, Reply, drop, silence, status
from tests.support.providers.server import FakeProvider, fake_provider

CANARY = "sk-canary-0123456789abcdef"


class Clock:
    """Monotonic seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every catalogue's discovery."""
    clock = Clock()
    monkeypatch.setattr("parley_daemon.adapters.providers.catalogue.ModelLists", lambda: ModelLists(clock))
    return clock


def models(*ids: str) -> Action:
    """Answer with a list of models."""

    async def act(reply: Reply) -> None:
        await reply.document({"object": "list", "data": [{"id": id, "context_length": 4096} for id in ids]})

    return act


def info(catalogue: ConfiguredCatalogue) -> ProviderInfo:
    return next(one for one in catalogue.providers() if one.provider == "x")


def listed(catalogue: ConfiguredCatalogue) -> list[str]:
    return [one.model for one in info(catalogue).models]


def at(server: FakeProvider, *configs: ModelConfig, key: str | None = None) -> ConfiguredCatalogue:
    return ConfiguredCatalogue([ProviderConfig("x", base_url=server.origin, api_key=key)], configs)


async def quick(work: Awaitable[object]) -> None:
    with anyio.fail_after(30):
        await work


async def test_models_that_the_provider_lists_are_there_behind_those_that_are_configured() -> None:
    async with fake_provider((models("phi", "LLAMA", "gemma"),)) as server:
        catalogue = at(server, ModelConfig("x:llama", display_name="Mine"), key="sk-x")
        assert catalogue.pending_refreshes() == [PendingRefresh("x", is_known=False)]
        await quick(catalogue.refresh_models("x"))
        assert catalogue.pending_refreshes() == []
        assert info(catalogue).available
        assert info(catalogue).models == (
            ModelInfo("x:llama", "x", "llama", "Mine", 4096),
            ModelInfo("x:gemma", "x", "gemma", "gemma", 4096),
            ModelInfo("x:phi", "x", "phi", "phi", 4096),
        )
        (request,) = server.requests
        assert (request.method, request.path) == ("GET", "/v1/models")
        assert request.headers["authorization"] == "Bearer sk-x"
        await server.idle()


async def test_what_is_configured_goes_before_what_is_listed_and_what_is_switched_off_is_not_shown() -> None:
    async with fake_provider((models("phi", "llama", "off"),)) as server:
        catalogue = at(server, ModelConfig("x:llama", 100), ModelConfig("x:OFF", enabled=False))
        await quick(catalogue.refresh_models("x"))
        assert listed(catalogue) == ["llama", "phi"]
        assert catalogue.resolve("x:llama").context_limit == 100
        assert catalogue.resolve("x:phi").context_limit == 4096
        assert catalogue.resolve("x:never-heard-of").context_limit is None


async def test_a_list_is_kept_for_a_while_and_then_shown_while_another_is_asked_for(clock: Clock) -> None:
    async with fake_provider((models("old"),), (models("new"),)) as server:
        catalogue = at(server)
        await quick(catalogue.refresh_models("x"))
        clock.seconds = KEPT_SECONDS - 1
        assert catalogue.pending_refreshes() == []
        clock.seconds = KEPT_SECONDS
        assert catalogue.pending_refreshes() == [PendingRefresh("x", is_known=True)]
        assert listed(catalogue) == ["old"]
        await quick(catalogue.refresh_models("x"))
        assert listed(catalogue) == ["new"]
        assert catalogue.pending_refreshes() == []


DROP = drop()
REFUSALS: dict[str, tuple[Action, str]] = {
    "a wrong key": (
        status(401, {"error": {"message": f"Incorrect API key: {CANARY}"}}),
        "x does not accept the configured API key.",
    ),
    "an outage": (status(503, "busy"), "x is overloaded at the moment."),
    "a broken connection": (DROP, "closed the connection without an answer."),
    "a web page": (
        status(200, "<!doctype html><title>Hello</title>"),
        "answers with a web page; check base_url.",
    ),
    "nonsense": (status(200, f"hello {CANARY}"), "answers with text that is not JSON; check base_url."),
    "a redirect": (
        status(302, "", {"Location": f"https://elsewhere.example/?key={CANARY}"}),
        "redirects to another address; check base_url.",
    ),
}


@pytest.mark.parametrize(("answer", "message"), REFUSALS.values(), ids=list(REFUSALS))
async def test_a_list_that_cannot_be_had_is_told_and_keeps_nobody_from_asking(
    answer: Action, message: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        again = [(answer,)] if answer is DROP else []  # a broken connection is tried once more at once
        async with fake_provider((answer,), *again, (models("m"),)) as server:
            catalogue = at(server, ModelConfig("x:mine"), key=CANARY)
            await quick(catalogue.refresh_models("x"))
            told = info(catalogue)
            assert (told.available, told.unavailable_reason) == (False, "fetch_failed")
            assert told.unavailable_message is not None
            assert message in told.unavailable_message
            assert listed(catalogue) == ["mine"]
            assert catalogue.resolve("x:mine").id == "x:mine"
            # It is not asked again at once; when it has recovered, nothing is left of it.
            clock.seconds = FAILED_SECONDS - 1
            assert catalogue.pending_refreshes() == []
            clock.seconds = FAILED_SECONDS
            assert catalogue.pending_refreshes() == [PendingRefresh("x", is_known=True)]
            await quick(catalogue.refresh_models("x"))
            assert (info(catalogue).available, listed(catalogue)) == (True, ["mine", "m"])
            assert CANARY not in repr(told)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("code", [404, 405, 501])
async def test_a_server_without_a_list_is_as_good_as_any(code: int) -> None:
    async with fake_provider((status(code, {"detail": "Not Found"}),)) as server:
        catalogue = at(server, ModelConfig("x:mine"))
        await quick(catalogue.refresh_models("x"))
        assert (info(catalogue).available, listed(catalogue)) == (True, ["mine"])
        assert catalogue.pending_refreshes() == []


async def test_a_failure_leaves_what_was_listed_before(clock: Clock) -> None:
    async with fake_provider((models("m"),), (status(503, "busy"),)) as server:
        catalogue = at(server)
        await quick(catalogue.refresh_models("x"))
        clock.seconds = KEPT_SECONDS
        await quick(catalogue.refresh_models("x"))
        assert (info(catalogue).available, listed(catalogue)) == (False, ["m"])


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_lists, "LIST_SECONDS", 0.2)
    async with fake_provider((silence(),)) as server:
        catalogue = at(server)
        await quick(catalogue.refresh_models("x"))
        assert info(catalogue).unavailable_message == "x did not answer within 0.2 s."
        await server.idle()


async def test_several_who_want_to_know_ask_once() -> None:
    go_on = anyio.Event()
    async with fake_provider((silence(go_on), models("m"))) as server:
        catalogue = at(server)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(catalogue.refresh_models, "x")
                await server.requested()
                # A caller that comes now may wait for it, too.
                assert catalogue.pending_refreshes() == [PendingRefresh("x", is_known=False)]
                go_on.set()
        assert listed(catalogue) == ["m"]
        assert len(server.requests) == 1


async def test_who_gives_up_waiting_leaves_it_to_the_next_one() -> None:
    async with fake_provider((silence(),), (models("m"),)) as server:
        catalogue = at(server)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(catalogue.refresh_models, "x")
                await server.requested()
                tasks.cancel_scope.cancel()
            await catalogue.refresh_models("x")
        assert listed(catalogue) == ["m"]
        await server.idle()


async def test_a_provider_that_is_changed_meanwhile_is_not_shown_what_the_old_one_listed() -> None:
    go_on = anyio.Event()
    async with fake_provider((silence(go_on), models("old"))) as server:
        catalogue = at(server)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(catalogue.refresh_models, "x")
                await server.requested()
                changed = ProviderConfig("x", base_url="http://127.0.0.1:1")
                await catalogue.configure([changed], [], default_model=None, timeouts=Timeouts())
                go_on.set()
        assert listed(catalogue) == []
        assert catalogue.pending_refreshes() == [PendingRefresh("x", is_known=False)]
        await catalogue.configure([], [], default_model=None, timeouts=Timeouts())
        await quick(catalogue.refresh_models("x"))  # it is gone: nothing to do


async def test_what_cannot_be_used_is_not_asked() -> None:
    catalogue = ConfiguredCatalogue(
        [
            ProviderConfig("off", base_url="http://127.0.0.1:1", enabled=False),
            ProviderConfig("keyless", "openai"),
            ProviderConfig("odd", "nope"),
        ]
    )
    assert catalogue.pending_refreshes() == []
    for name in ("off", "keyless", "odd", "demo", "nobody"):
        await quick(catalogue.refresh_models(name))


async def test_a_type_that_fails_in_its_own_way_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from parley_daemon.adapters.providers import provider
    from parley_daemon.adapters.providers.demo.model import DemoModel
    from parley_daemon.adapters.providers.provider_type import Access, ProviderType
    from parley_daemon.adapters.providers.shared.model_list import Fetch, ListedModel

    async def list_models(access: Access, fetch: Fetch) -> list[ListedModel]:
        raise ZeroDivisionError(CANARY)

    row = ProviderType(
        "own", "Own", lambda access: DemoModel(), needs_key=False, needs_url=False, list_models=list_models
    )
    find: Callable[[str], ProviderType] = lambda name: row  # noqa: E731 - typed
    monkeypatch.setattr(provider, "find_type", find)
    catalogue = ConfiguredCatalogue([ProviderConfig("x", "own")])
    await quick(catalogue.refresh_models("x"))
    assert info(catalogue).unavailable_message == (
        'The list of models of x cannot be read: its provider type "own" (package parleyd) failed;'
        " see the daemon's log for details."
    )
    assert "ZeroDivisionError" in caplog.text


async def test_what_was_configured_over_the_protocol_is_asked_with_its_own_key() -> None:
    async with fake_provider((models("m"),)) as server:
        catalogue = ConfiguredCatalogue()
        record = a_provider("x", base_url=server.origin, has_key=True)
        await catalogue.apply_overlay(Overlay([record], [a_model("m", "x", context_limit=7)], {"x": CANARY}))
        await quick(catalogue.refresh_models("x"))
        assert server.requests[0].headers["authorization"] == f"Bearer {CANARY}"
        assert info(catalogue).models == (ModelInfo("x:m", "x", "m", "m", 7),)


async def test_anthropic_and_google_are_asked_with_their_own_headers() -> None:
    anthropic = {"data": [{"id": "claude-x", "display_name": "Claude X", "max_input_tokens": 9}]}
    google = {"models": [{"name": "models/gemini-x", "supportedGenerationMethods": ["generateContent"]}]}
    async with fake_provider((status(200, anthropic),), (status(200, google),)) as server:
        catalogue = ConfiguredCatalogue(
            [
                ProviderConfig("a", "anthropic", server.origin, api_key="sk-a"),
                ProviderConfig("g", "google", server.origin, api_key="sk-g"),
            ]
        )
        await quick(catalogue.refresh_models("a"))
        await quick(catalogue.refresh_models("g"))
        assert [one.id for each in catalogue.providers()[:2] for one in each.models] == [
            "a:claude-x",
            "g:gemini-x",
        ]
        first, second = server.requests
        assert (first.headers["x-api-key"], second.headers["x-goog-api-key"]) == ("sk-a", "sk-g")
        assert "anthropic-version" in first.headers
        assert "authorization" not in {**first.headers, **second.headers}
