"""A provider that plays agent turns in every dialect, and refuses what the real APIs refuse.

`AgentProvider(play)` decides by the conversation alone: `play` gets a `Turn` (the question, and the results
of tools since then) and returns what the model says next. So many chats can be played at once, and a request
that is repeated gets the same answer. Its `choose` is that of a FakeProvider.

Each request is checked by `strict_requests`, and what the provider has signed must come back where it was. A
fault is answered by status 400, and noted in `faults`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from tests.support.providers import anthropic_script
from tests.support.providers.responses_script import Answer
from tests.support.providers.script import (
    Script,
    done,
    event,
    finish,
    raw,
    reasoning,
    status,
    text,
    tool,
    usage,
)
from tests.support.providers.server import Request
from tests.support.providers.strict_requests import STRICT

Json = dict[str, Any]

DIALECTS = ("chat", "responses", "anthropic", "google")
PROVIDER_TYPES = {
    "chat": "openai-compat",
    "responses": "openai",
    "anthropic": "anthropic",
    "google": "google",
}
"""The provider type that speaks each dialect."""


@dataclass(frozen=True)
class Said:
    """One answer of the model. `calls` are (id, name, arguments)."""

    text: str = ""
    thoughts: str = ""
    calls: tuple[tuple[str, str, Json], ...] = ()


@dataclass(frozen=True)
class Turn:
    """What a request asks: the last question, the results since then, and the names of the tools."""

    question: str
    results: tuple[str, ...]
    tools: tuple[str, ...]


Play = Callable[[Turn], Said]


@dataclass
class AgentProvider:
    """Plays agent turns. `requests` counts them; `faults` are what was wrong with requests."""

    play: Play
    faults: list[str] = field(default_factory=list[str])
    requests: int = 0
    _signed: dict[str, str] = field(default_factory=dict[str, str])  # by call: what must come back with it

    def choose(self, request: Request) -> Script:
        """Return the answer to a request."""
        self.requests += 1
        dialect, body = dialect_of(request.path), request.json
        faults = STRICT[dialect](body) + list(_lost_signatures(dialect, body, self._signed))
        if faults:
            self.faults += faults
            return (status(400, {"error": {"type": "invalid_request_error", "message": "; ".join(faults)}}),)
        said = self.play(read_turn(dialect, body))
        for id, _, _ in said.calls[:1] if said.thoughts else ():
            self._signed[id] = said.thoughts if dialect == "chat" else f"signature-of-{id}"
        return answer(dialect, said)

    def forget(self) -> None:
        """Sign anew from now on: another model goes on, which has not signed what was said."""
        self._signed.clear()


def dialect_of(path: str) -> str:
    """Return the dialect of a request."""
    if path.endswith("/chat/completions"):
        return "chat"
    if path.endswith("/responses"):
        return "responses"
    return "anthropic" if path.endswith("/messages") else "google"


def read_turn(dialect: str, body: Json) -> Turn:
    """Return what a request asks."""
    question, results = "", list[str]()
    for kind, said in _entries(dialect, body):
        if kind == "question":
            question, results = said, []
        elif kind == "result":
            results.append(said)
    return Turn(question, tuple(results), tuple(_tools(dialect, body)))


def _entries(dialect: str, body: Json) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    if dialect == "chat":
        for message in body["messages"]:
            kind = {"user": "question", "tool": "result"}.get(message["role"], "")
            entries.append((kind, _text(message["content"])))
    elif dialect == "responses":
        for item in body["input"]:
            if item.get("type") == "function_call_output":
                entries.append(("result", _text(item["output"])))
            elif item.get("role") == "user":
                entries.append(("question", _text(item["content"])))
    elif dialect == "anthropic":
        for message in body["messages"]:
            for block in message["content"] if message["role"] == "user" else ():
                is_result = block["type"] == "tool_result"
                said = _text(block.get("content") or "") if is_result else _text([block])
                entries.append(("result" if is_result else "question", said))
    else:
        for content in body["contents"]:
            for part in content["parts"] if content["role"] == "user" else ():
                if "functionResponse" in part:
                    response: Json = part["functionResponse"]["response"]
                    entries.append(("result", _text(response.get("output", response.get("error")))))
                elif "text" in part:
                    entries.append(("question", part["text"]))
    return entries


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        blocks = cast("list[Json]", content)
        return " ".join([block["text"] for block in blocks if "text" in block])
    return json.dumps(content)


def _tools(dialect: str, body: Json) -> list[str]:
    tools: list[Json] = body.get("tools") or []
    if dialect == "chat":
        return [tool["function"]["name"] for tool in tools]
    if dialect == "google":
        return [each["name"] for tool in tools for each in tool["functionDeclarations"]]
    return [tool["name"] for tool in tools]


def _lost_signatures(dialect: str, body: Json, signed: dict[str, str]) -> list[str]:
    found = dict(_signatures(dialect, body))
    return [
        f"the signature of call {id} is missing, or not the one that was given"
        for id, given in found.items()
        if id in signed and given != signed[id]
    ]


def _signatures(dialect: str, body: Json) -> list[tuple[str, str | None]]:
    """Return the first call of each answer, and what it is signed with."""
    pairs: list[tuple[str, str | None]] = []
    if dialect == "chat":
        for message in body["messages"]:
            calls: list[Json] = message.get("tool_calls") or []
            pairs += [(call["id"], message.get("reasoning_content")) for call in calls[:1]]
    elif dialect == "responses":
        signature, is_first = None, True
        for item in body["input"]:
            if item.get("type") == "reasoning":
                signature = item.get("encrypted_content")
            elif item.get("type") == "function_call" and is_first:
                pairs.append((item["call_id"], signature))
                is_first = False
            elif item.get("type") == "function_call_output":
                signature, is_first = None, True
    elif dialect == "anthropic":
        for message in body["messages"]:
            blocks: list[Json] = message["content"]
            signatures = [block.get("signature") for block in blocks if block["type"] == "thinking"]
            ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
            pairs += [(id, signatures[0] if signatures else None) for id in ids[:1]]
    else:
        for content in body["contents"]:
            signed: list[Json] = [part for part in content["parts"] if "functionCall" in part][:1]
            pairs += [(part["functionCall"].get("id", ""), part.get("thoughtSignature")) for part in signed]
    return pairs


# ------------------------------------------------------------------------------ what is said


def answer(dialect: str, said: Said) -> Script:
    """Return an answer as a stream of a dialect. Arguments come in two pieces where the API streams them."""
    return {"chat": _chat, "responses": _responses, "anthropic": _anthropic, "google": _google}[dialect](said)


def document(dialect: str, said: Said) -> bytes:
    """Return the same answer as one JSON document, as a server sends it that does not stream."""
    if dialect == "responses":
        return _made_response(said).document
    signed = f"signature-of-{said.calls[0][0]}" if said.calls else "signature"
    if dialect == "chat":
        calls = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
            for id, name, args in said.calls
        ]
        message = {"content": said.text, "reasoning_content": said.thoughts, "tool_calls": calls}
        reason = "tool_calls" if calls else "stop"
        return json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": reason}]}).encode()
    if dialect == "anthropic":
        content: list[Json] = [
            {"type": "thinking", "thinking": said.thoughts, "signature": signed},
            {"type": "text", "text": said.text},
            *[{"type": "tool_use", "id": id, "name": name, "input": args} for id, name, args in said.calls],
        ]
        reason = "tool_use" if said.calls else "end_turn"
        return json.dumps({"type": "message", "content": content, "stop_reason": reason}).encode()
    candidate = {"index": 0, "content": {"role": "model", "parts": _google_parts(said)}}
    return json.dumps({"candidates": [{**candidate, "finishReason": "STOP"}]}).encode()


def _halves(args: Json) -> list[str]:
    whole = json.dumps(args)
    return [whole[: len(whole) // 2], whole[len(whole) // 2 :]]


def _chat(said: Said) -> Script:
    actions = [reasoning(said.thoughts)] if said.thoughts else []
    actions += [text(said.text)] if said.text else []
    for at, (id, name, args) in enumerate(said.calls):
        first, second = _halves(args)
        actions += [tool(at, id, name, first), tool(at, None, None, second)]
    return (*actions, finish("tool_calls" if said.calls else "stop"), usage(), done())


def _responses(said: Said) -> Script:
    return _made_response(said).script


def _made_response(said: Said) -> Answer:
    made = Answer()
    if said.thoughts:
        signed = f"signature-of-{said.calls[0][0]}" if said.calls else "signature"
        made.reasoning(said.thoughts, encrypted=signed)
    if said.text:
        made.message(said.text)
    if said.calls:
        made.calls(*[(id, name, _halves(args)) for id, name, args in said.calls])
    return made.ended()


def _anthropic(said: Said) -> Script:
    blocks: list[list[Json]] = []
    if said.thoughts:
        signed = f"signature-of-{said.calls[0][0]}" if said.calls else "signature"
        blocks.append(anthropic_script.thinking(said.thoughts, signature=signed, index=0))
    if said.text:
        blocks.append(anthropic_script.text(said.text, index=len(blocks)))
    for id, name, args in said.calls:
        blocks.append(anthropic_script.tool(id, name, *_halves(args), index=len(blocks)))
    return (raw(anthropic_script.answer(*blocks, reason="tool_use" if said.calls else "end_turn")),)


def _google_parts(said: Said) -> list[Json]:
    parts: list[Json] = [{"text": said.thoughts, "thought": True}] if said.thoughts else []
    parts += [{"text": said.text}] if said.text else []
    for at, (id, name, args) in enumerate(said.calls):
        part: Json = {"functionCall": {"id": id, "name": name, "args": args}}
        if at == 0:
            part["thoughtSignature"] = f"signature-of-{id}"
        parts.append(part)
    return parts


def _google(said: Said) -> Script:
    parts = _google_parts(said)
    candidates = [{"index": 0, "content": {"role": "model", "parts": [part]}} for part in parts]
    last: Json = {"index": 0, "content": {"role": "model", "parts": []}, "finishReason": "STOP"}
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
    return tuple([event({"candidates": [each], "usageMetadata": counts}) for each in [*candidates, last]])
