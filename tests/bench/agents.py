"""t: agent turns. What a step costs between two model calls, against a plain loop with asyncio's processes.

A step is measured at the model server: from the end of one answer to the whole next request. The daemon
commits the calls and the results meanwhile, and streams both to a subscriber.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp

from tests.bench.agent_upstream import task_of_child
from tests.bench.driver import Driver
from tests.bench.flow import Arrivals, follow, median, percentile
from tests.bench.processes import Daemon, Place, Upstream, Workshop
from tests.bench.report import Row

Journal = dict[str, dict[str, Any]]

STEPS = 10
_MANY = 200
_ANSWER_MS = 1_500  # how long a model's answer takes while many chats take steps
_STEP_MS = 5.0
_RUN_MS = 40.0
_MANY_MS = 100.0
_SPAWN_MS = 10.0


def measure(shop: Workshop) -> list[Row]:
    """Let one chat take steps, then 200 at once."""
    turns = 5 if shop.quick else 30
    upstream = Upstream("tests.bench.agent_upstream")
    try:
        plain = {tool: asyncio.run(_plain(upstream, tool, turns)) for tool in ("todo", "run")}
        place = shop.place(upstream)
        with Daemon(place) as daemon:
            driver = daemon.driver
            plain_chat = driver.call("chat/create", {})["id"]
            driver.call("chat/ask", {"chatId": plain_chat, "content": _ask("todo", 0, 0)})
            idle = daemon.pss
            driver.call("permission/add", {"effect": "allow", "tool": "run", "command": "true"})
            chats = _chats(driver, place, _MANY if not shop.quick else 50)
            _turns(upstream, driver, chats[:1], "run", 1)  # loads what the first call needs
            ours = {tool: _turns(upstream, driver, chats[:1], tool, turns) for tool in ("todo", "run")}
            used = daemon.pss
            at_once = _turns(upstream, driver, chats, "todo", 1, _ANSWER_MS)
            _delegate(driver, chats[0])
            _turns(upstream, driver, chats[:1], "spawn_agent", 1)  # as above
            spawns = _turns(upstream, driver, chats[:1], "spawn_agent", turns, read=_spawns)
    finally:
        upstream.close()
    kinds = [("todo", "a tool that does nothing", _STEP_MS), ("run", "`run true`", None)]
    rows = [
        Row("t", f"step with {what}, p50", "ms", median(ours[tool]), mark, {"plain": median(plain[tool])})
        for tool, what, mark in kinds
    ]
    over_plain = median(ours["run"]) - median(plain["run"])
    what = (
        f"{len(chats)} chats with {STEPS} steps each at once, answers of {_ANSWER_MS / 1000:g} s: step, p99"
    )
    return [
        *rows,
        Row("t", "`run true` over plain", "ms", over_plain, _RUN_MS),
        Row("t", what, "ms", percentile(at_once, 99), _MANY_MS),
        Row(
            "t",
            "answer that starts a child → its whole request, p50",
            "ms",
            median(spawns),
            _SPAWN_MS,
        ),
        Row("t", "PSS after a turn without tools", "MiB", idle),
        Row("t", "PSS after turns with tools", "MiB", used),
    ]


def _ask(tool: str, chat: int, steps: int = STEPS, delay: int = 0) -> str:
    return f"steps={steps} tool={tool} chat={chat} delay={delay}"


def _chats(driver: Driver, place: Place, count: int) -> list[str]:
    """Create chats that may run what rules allow, and subscribe to each under its place in the list."""
    root = place.data_dir.parent.absolute() / "root"
    root.mkdir()
    params = {"settings": {"agent": {"mode": "auto"}}, "context": {"repositories": [root.as_uri()]}}
    chats = [str(driver.call("chat/create", params)["id"]) for _ in range(count)]
    for token, chat in enumerate(chats):
        driver.call("chat/subscribe", {"chatId": chat, "partialResultToken": token, "tail": 1})
    return chats


def _turns(
    upstream: Upstream,
    driver: Driver,
    chats: Sequence[str],
    tool: str,
    count: int,
    delay: int = 0,
    read: Callable[[Journal], list[float]] | None = None,
) -> list[float]:
    """Let each chat take a turn, all at once, so many times; return the milliseconds of all steps.

    `read` reads something else from the journal of the turns.
    """
    steps = list[float]()
    for number in range(count):
        turns = [Arrivals() for _ in chats]
        for at, chat in enumerate(chats):
            driver.send(
                "chat/send", {"chatId": chat, "content": _ask(tool, number * _MANY + at, delay=delay)}
            )
        follow(driver, turns)
        steps += (read or _steps)(upstream.journal())
    return steps


def _delegate(driver: Driver, chat: str) -> None:
    """Let a chat have as many children as the benchmark starts."""
    settings = {"agent": {"mode": "auto", "subagents": {"total": 1_000}}}
    driver.call("chat/update", {"chatId": chat, "settings": settings})


def _spawns(journal: Journal) -> list[float]:
    """Return the milliseconds between each answer that starts a child and the child's whole request."""
    spawns = list[float]()
    for name, seen in journal.items():
        question, _, number = name.rpartition("#")
        given = dict(word.split("=") for word in question.split())
        if given["tool"] == "spawn_agent" and given["steps"] != number:
            child = journal[f"{task_of_child(given['chat'], int(number))}#0"]
            spawns.append((child["wholeNs"] - seen["endNs"]) / 1e6)
    return spawns


def _steps(journal: Journal) -> list[float]:
    """Return the milliseconds between the end of each answer with a call and the next whole request.

    Raises:
        RuntimeError: a turn did not take all of its steps.
    """
    steps = list[float]()
    for name, seen in journal.items():
        question, _, number = name.rpartition("#")
        if f"steps={number}" not in question.split():
            after = journal.get(f"{question}#{int(number) + 1}")
            if after is None:
                raise RuntimeError(f"{name} was the last step")
            steps.append((after["wholeNs"] - seen["endNs"]) / 1e6)
    return steps


async def _plain(upstream: Upstream, tool: str, turns: int) -> list[float]:
    """Return the same of a plain loop: no store, no client, no permission, no sandbox."""
    url = f"http://127.0.0.1:{upstream.port}/v1/chat/completions"
    async with aiohttp.ClientSession() as session:
        for number in range(turns):
            messages: list[dict[str, Any]] = [{"role": "user", "content": _ask(tool, number)}]
            while (call := await _plain_call(session, url, messages)) is not None:
                name, arguments, id = call
                output = "done"
                if name == "run":
                    command = json.loads(arguments)["command"]
                    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
                    output = (await process.communicate())[0].decode()
                function = {"name": name, "arguments": arguments}
                calls = [{"id": id, "type": "function", "function": function}]
                messages += [
                    {"role": "assistant", "content": None, "tool_calls": calls},
                    {"role": "tool", "tool_call_id": id, "content": output},
                ]
    return _steps(upstream.journal())


async def _plain_call(
    session: aiohttp.ClientSession, url: str, messages: list[dict[str, Any]]
) -> tuple[str, str, str] | None:
    """Ask once; return name, arguments and id of the call in the answer."""
    name = id = arguments = ""
    async with session.post(url, json={"model": "any", "stream": True, "messages": messages}) as response:
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            choices = json.loads(line[len(b"data: ") :])["choices"]
            for call in choices[0]["delta"].get("tool_calls", ()) if choices else ():
                id, function = call.get("id") or id, call["function"]
                name, arguments = function.get("name") or name, arguments + function.get("arguments", "")
    return (name, arguments, id) if name else None
