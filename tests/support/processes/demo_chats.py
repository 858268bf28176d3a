"""Chats in which the demo model calls tools, over a raw connection."""

import json
from typing import Any

from tests.support.processes.raw_client import Json, Peer

STEP = "\n/then\n"


def calls(*pairs: tuple[str, Any]) -> str:
    """Return the script of one message that calls these tools with these arguments."""
    return "\n".join([f"/tool {name} {json.dumps(args)}" for name, args in pairs])


async def begin(peer: Peer, prompt: str, mode: str = "ask", *roots: str, **agent: Any) -> str:
    """Create a chat, subscribe to it under its id, and begin a turn; return the id."""
    chat = await peer.result(
        "chat/create",
        {
            "model": "demo:demo",
            "settings": {"agent": {"mode": mode, **agent}},
            "context": {"repositories": [*roots]},
        },
    )
    chat_id = chat["id"]
    await peer.result("chat/subscribe", {"chatId": chat_id, "partialResultToken": chat_id})
    await peer.result("chat/send", {"chatId": chat_id, "content": f"/fast {prompt}"})
    return chat_id


async def request(peer: Peer, chat_id: str, number: int = 1) -> Json:
    """Return the number-th request of a chat."""
    seen: list[str] = []

    def is_wanted(event: Json) -> bool:
        if event["request"]["id"] not in seen:
            seen.append(event["request"]["id"])
        return len(seen) == number

    return (await peer.event(chat_id, "action_required", is_wanted))["request"]


async def respond(peer: Peer, asked: Json, decision: str = "allow", result: Any = None) -> Json:
    """Answer a request; return the whole response."""
    params = {"chatId": asked["chatId"], "requestId": asked["id"], "decision": decision, "result": result}
    return await peer.request("chat/respond", params)


async def results(peer: Peer, chat_id: str) -> list[tuple[Any, str]]:
    """Return the results and outcomes of a turn, once it has ended."""
    assert (await peer.event(chat_id, "turn_ended"))["outcome"] == "completed"
    messages = (await peer.result("chat/get", {"chatId": chat_id}))["messages"]
    return [
        (part["result"], part["outcome"])
        for message in messages
        for part in message["content"]
        if part["type"] == "tool-result"
    ]
