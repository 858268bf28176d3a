"""What the daemon logs: one line for each turn, retry and refused token; never a key or a prompt."""

import re

from tests.support.processes.daemon import DaemonProcess, running_daemon
from tests.support.processes.raw_client import tcp_peer, unix_peer
from tests.support.providers.script import done, finish, status, text
from tests.support.providers.server import fake_provider

KEY = "sk-canary-0123456789abcdef"
PROMPT = "my secret prompt"


def lines(daemon: DaemonProcess, part: str) -> list[str]:
    """Return the lines of the log that contain a text."""
    log = (daemon.data_dir / "log" / "parleyd.log").read_text("utf-8")
    return [line for line in log.splitlines() if part in line]


async def test_each_turn_and_retry_is_one_line_without_prompt_and_key() -> None:
    echo = {"error": {"message": f"No: {PROMPT!r} with {KEY}", "type": "x"}}
    async with fake_provider(
        (status(503, echo),), (text("hello"), finish(), done()), (status(400, echo),)
    ) as provider:
        config = f"""
            titles.enabled = false
            retries.first_ms = 10
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
            api_key_env = "CANARY"
        """
        async with running_daemon(config=config, env={"CANARY": KEY}) as daemon:
            async with unix_peer(daemon.socket) as peer:
                await peer.initialize()
                chat_id = await peer.new_chat(model="fake:any")
                answers = [
                    await peer.result("chat/ask", {"chatId": chat_id, "content": f"{PROMPT} {number}"})
                    for number in range(2)
                ]
                assert [answer["outcome"] for answer in answers] == ["completed", "failed"]
                first, second = [answer["turnId"] for answer in answers]
            ended, retried = lines(daemon, f"turn {first} of chat"), lines(daemon, f"turn {first}, retry")
            assert len(ended) == len(retried) == 1
            assert "retry 1: overloaded of fake, status 503; asking fake:any in " in retried[0]
            pattern = rf" INFO .*turn {first} of chat {chat_id}, model fake:any: completed \(stop\); \d+ ms, "
            assert re.search(pattern, ended[0])
            assert ended[0].count("2 attempts") == 1
            (failed,) = lines(daemon, f"turn {second} of chat")
            assert " WARNING " in failed
            assert "failed: invalid_request of fake, status 400; " in failed
            assert lines(daemon, PROMPT) == lines(daemon, KEY) == lines(daemon, "canary") == []


async def test_each_refused_token_is_one_line_without_the_token(daemon: DaemonProcess) -> None:
    for token in ("wrong-canary", None):
        async with tcp_peer(daemon.tcp, check=False) as peer:
            options = {} if token is None else {"token": token}
            refusal = await peer.error("initialize", {"capabilities": {}, "initializationOptions": options})
            assert refusal["code"] == 1008
    assert len(lines(daemon, "a client was refused")) == 2
    assert lines(daemon, "canary") == []
