"""Which of several providers a chat is answered by, over the real daemon with fake providers."""

from typing import Any

import pytest

from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import unix_peer
from tests.support.providers.script import Script, done, drop, event, finish, silence, status, text, usage
from tests.support.providers.server import FakeProvider, fake_provider

pytestmark = pytest.mark.slow

NOT_ALLOWED = 1009


def provider(name: str, server: FakeProvider, *more: str) -> str:
    """Return the configuration of a provider."""
    return "\n".join(
        [f"[providers.{name}]", 'type = "openai-compat"', f'base_url = "{server.base_url}"', *more, ""]
    )


async def test_a_local_only_chat_never_connects_to_a_provider_that_is_not_local() -> None:
    answer = (text("Yes."), finish(), usage(), done())
    no_list = (status(404, {}),)
    async with fake_provider(no_list, answer) as near, fake_provider(no_list) as far:
        config = "\n".join(
            [
                'default_model = "far:any"',
                "[titles]",
                'model = "far:any"',
                "[compaction]",
                "threshold = 0",
                provider("near", near),
                provider("far", far, "local = false"),
                '[models."near:any"]',
                "context_limit = 1000000",
            ]
        )
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            listed = (await peer.result("model/list"))["providers"]
            local = {one["provider"] for one in listed if one["local"]}
            assert local == {"near", "demo"}

            settings = {"localOnly": True}
            chat_id = await peer.new_chat(settings=settings)
            refused: list[tuple[str, dict[str, Any]]] = [
                ("chat/create", {"model": "far:any", "settings": settings}),
                ("chat/send", {"chatId": chat_id, "content": "Hi"}),
                ("chat/ask", {"chatId": chat_id, "content": "Hi", "settings": {"localOnly": False}}),
                ("chat/setModel", {"chatId": chat_id, "model": "far:any"}),
                ("chat/compact", {"chatId": chat_id}),
            ]
            for method, params in refused:
                assert (await peer.error(method, params))["code"] == NOT_ALLOWED, method
            chat = await peer.result("chat/setModel", {"chatId": chat_id, "model": "near:any"})
            assert chat["settings"]["localOnly"] is True
            assert (await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"}))["error"] is None
            # Behind the answer come the title and, at a threshold of 0, the summary.
            prompts = [
                (await near.requested(count)).prompt for count in (1, 2, 3, 4)
            ]  # the list of models first
            assert sum("CONVERSATION" in prompt for prompt in prompts) == 1
            await peer.alive()
        # Its list of models is no chat's business: that is all that it was ever asked for.
        assert not [request for request in far.requests if request.path.endswith("/completions")]


OVERLOADED = status(503, {"error": {"message": "busy"}})
LIMITED = status(429, {"error": {"message": "slow down"}}, {"retry-after": "60"})
WHOLE = (text("From the ", "second."), finish(), usage(4, 2), done())


def chain(first: FakeProvider, second: FakeProvider, **retries: int) -> str:
    """Return a configuration in which the second provider is there for the first one."""
    return "\n".join(
        [
            'default_model = "first:any"',
            'fallback_models = ["second:any"]',
            "titles.enabled = false",
            *[f"retries.{name} = {number}" for name, number in {"first_ms": 0, **retries}.items()],
            provider("first", first),
            provider("second", second),
            '[models."second:any".pricing]',
            "input_per_million = 1000000.0",
            "output_per_million = 1000000.0",
        ]
    )


BROKEN = (text("Half of an "), drop())


@pytest.mark.parametrize(
    ("scripts", "kind"),
    [
        ([(OVERLOADED,)] * 2, "overloaded"),
        ([(LIMITED,)], "rate_limit"),
        ([(silence(),)] * 2, "timeout"),
        ([BROKEN] * 2, "bad_stream"),
        ([(text("Ha"), event({"error": {"message": "overloaded", "code": 503}}))] * 2, "overloaded"),
    ],
    ids=["overloaded", "limited", "silent", "broken", "in stream"],
)
async def test_when_one_provider_is_away_the_other_one_answers_and_every_client_is_told(
    scripts: list[Script], kind: str
) -> None:
    async with fake_provider(*scripts) as first, fake_provider(WHOLE, WHOLE) as second:
        config = chain(first, second)
        async with (
            running_daemon(config=config) as daemon,
            unix_peer(daemon.socket) as one,
            unix_peer(daemon.socket) as two,
        ):
            for peer in (one, two):
                await peer.initialize()
            impatient = {"timeouts": {"firstPartMs": 1500}} if kind == "timeout" else {}
            chat_id = await one.new_chat(settings=impatient)
            for peer in (one, two):
                await peer.subscribe(chat_id)
            question = {"chatId": chat_id, "content": "Hi"}
            answer = await one.result("chat/ask", {**question, "workDoneToken": "progress"})
            progress = [value.get("message", "") for value in one.events("progress")]
            assert any(said.startswith("asking second:any instead: ") for said in progress)
            assert (answer["outcome"], answer["timings"]["attempts"]) == ("completed", len(scripts) + 1)
            assert answer["usage"]["costUsd"] == 6.0
            (message,) = answer["messages"]
            assert message["model"] == "second:any"
            assert message["content"] == [{"type": "text", "text": "From the second."}]
            for peer in (one, two):
                told = await peer.event("s", "retry", lambda value: value["model"] == "second:any")
                assert (told["error"]["kind"], told["delayMs"]) == (kind, 0)
                await peer.event("s", "turn_ended")
            chat = (await one.result("chat/get", {"chatId": chat_id}))["chat"]
            assert chat["model"] == "first:any"
            # A first model that wants to be left alone is not asked again; the others are.
            again = await one.result("chat/ask", question)
            assert again["messages"][0]["model"] == ("second:any" if kind == "rate_limit" else "first:any")
            assert len(first.requests) == len(scripts) + (kind != "rate_limit")


async def test_a_chat_that_wants_no_fallback_fails_as_it_always_did() -> None:
    async with fake_provider((OVERLOADED,), (OVERLOADED,)) as first, fake_provider() as second:
        config = chain(first, second, attempts=2)
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat(settings={"fallbackModels": []})
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
            assert (answer["outcome"], answer["error"]["kind"]) == ("failed", "overloaded")
        assert second.connections == 0


async def test_a_local_only_chat_does_not_fall_back_on_a_provider_that_is_not_local() -> None:
    async with fake_provider(*[(OVERLOADED,)] * 3) as first, fake_provider() as second:
        config = chain(first, second, attempts=3).replace(
            "[providers.second]", "[providers.second]\nlocal = false"
        )
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat(settings={"localOnly": True})
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
            assert answer["timings"]["attempts"] == 3
            assert "second:any is not a local model" in answer["error"]["detail"]
        assert second.connections == 0


async def test_an_interrupt_ends_the_other_models_answer_and_keeps_what_came_of_it() -> None:
    begun = (text("From the "), silence())
    async with fake_provider((LIMITED,)) as first, fake_provider(begun) as second:
        config = chain(first, second)
        async with running_daemon(config=config) as daemon, unix_peer(daemon.socket) as peer:
            await peer.initialize()
            chat_id = await peer.new_chat()
            await peer.subscribe(chat_id)
            await peer.result("chat/send", {"chatId": chat_id, "content": "Hi"})
            await peer.event("s", "message_part")
            await peer.result("chat/interrupt", {"chatId": chat_id})
            assert (await peer.event("s", "turn_ended"))["outcome"] == "interrupted"
            await second.disconnected()
            (_, partial) = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
            assert (partial["model"], partial["complete"]) == ("second:any", False)
