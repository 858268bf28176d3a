"""Which of several providers a chat is answered by, over the real daemon with fake providers."""

from typing import Any

from tests.support.daemon import running_daemon
from tests.support.fake_provider import FakeProvider, fake_provider
from tests.support.provider_script import done, finish, text, usage
from tests.support.wire import unix_peer

NOT_ALLOWED = 1009


def provider(name: str, server: FakeProvider, *more: str) -> str:
    """Return the configuration of a provider."""
    return "\n".join(
        [f"[providers.{name}]", 'type = "openai-compat"', f'base_url = "{server.base_url}"', *more, ""]
    )


async def test_a_local_only_chat_never_connects_to_a_provider_that_is_not_local() -> None:
    answer = (text("Yes."), finish(), usage(), done())
    async with fake_provider(answer) as near, fake_provider() as far:
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
            local = {one["provider"]: one["local"] for one in listed}
            assert local == {"near": True, "far": False, "demo": True}

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
            prompts = [(await near.requested(count)).prompt for count in (1, 2, 3)]
            assert sum("CONVERSATION" in prompt for prompt in prompts) == 1
            await peer.alive()
        assert far.connections == 0
