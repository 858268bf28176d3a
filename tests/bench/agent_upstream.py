"""A model server for t: calls one tool so many times in a turn, then answers.

The question says how: `steps=10 tool=run chat=17 delay=0`. The journal names each request by the question and
the number of results since then, such as `steps=10 tool=run chat=17 delay=0#3`. `delay`: how long each answer
takes, in milliseconds, three quarters of that at least and five quarters at most.
"""

import argparse
import signal
import zlib

import anyio

from tests.support.providers.agents import Said, answer, read_turn
from tests.support.providers.script import Script, pause
from tests.support.providers.server import Request, fake_provider


def choose(request: Request) -> Script:
    """Return the next step of a turn."""
    turn = read_turn("chat", request.json)
    done = len(turn.results)
    request.__dict__["prompt"] = f"{turn.question}#{done}"
    request.body = b""
    given = dict(word.split("=") for word in turn.question.split())
    thinks = pause(_seconds(int(given["delay"]), f"{given['chat']}#{done}"))
    if done >= int(given["steps"]):
        # A stamp, as the client of the benchmark expects it.
        return (thinks, *answer("chat", Said(f"{0:019};")))
    # Each call differs from the others: a model that repeats one is stopped.
    args = {
        "run": {"command": f"true {done}"},
        "todo": {"items": [{"text": str(done), "status": "pending"}]},
        "spawn_agent": {"task": task_of_child(given["chat"], done)},
    }
    tool = given["tool"]
    said = Said(calls=((f"call_{given['chat']}_{done}", tool, args[tool]),))
    return (thinks, *answer("chat", said))


def task_of_child(chat: str, step: int) -> str:
    """Return the question of the child that a chat starts in a step: it is answered at once."""
    return f"steps=0 tool=todo chat={chat}.{step} delay=0"


def _seconds(delay: int, name: str) -> float:
    """Return how long an answer takes: around `delay` milliseconds, always the same for a name."""
    return delay / 1000 * (0.75 + zlib.crc32(name.encode()) % 1_000 / 2_000)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    async with fake_provider(port=parser.parse_args().port) as provider:
        provider.choose = choose
        print(provider.port, flush=True)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                return


if __name__ == "__main__":
    anyio.run(_main)
