"""A baseline: the same stream through a plain pygls server on stdio, as a short script would do it.

No storage, no history, no second client. `bench/ask {url, prompt, token}` asks the model server and sends
each delta as the notification that the daemon would send; its answer comes when the stream has ended.
"""

import json
from typing import Any

import aiohttp
from lsprotocol.types import ProgressParams
from pygls.lsp.server import LanguageServer

SERVER = LanguageServer("plain", "1")
_STATE: dict[str, aiohttp.ClientSession] = {}


@SERVER.feature("bench/ask")
async def ask(server: LanguageServer, params: Any) -> None:
    """Stream one answer."""
    session = _STATE.get("session")
    if session is None:
        session = _STATE["session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    body = {"model": "any", "stream": True, "messages": [{"role": "user", "content": params.prompt}]}
    seq = 0

    def tell(value: dict[str, Any]) -> None:
        value = {"chatId": "chat", "seq": seq, "turnId": "turn", **value}
        server.protocol.notify("$/progress", ProgressParams(params.token, value))

    async with session.post(params.url, json=body) as response:
        async for line in response.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            choices = json.loads(line[len(b"data: ") :])["choices"]
            text = choices[0]["delta"].get("content") if choices else None
            if text:
                seq += 1
                part = {"type": "text", "text": text}
                tell({"type": "message_part", "messageId": 2, "index": 0, "role": "assistant", "part": part})
    tell({"type": "turn_ended", "outcome": "completed", "stopReason": "stop"})


if __name__ == "__main__":
    SERVER.start_io()
