"""What providers refuse in requests with tools, as checks over the bodies that arrive at a fake provider.

Each returns what is wrong with a body, in words; nothing when the provider would take it. They are as strict
as the APIs: each call has its result in the next place, ids and names are of the allowed form, what must be
signed is signed, and schemas have only what the API knows.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

Json = dict[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_GOOGLE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,62}")
_KEYWORDS = frozenset(
    (
        "type", "description", "properties", "required", "additionalProperties", "items", "enum", "anyOf",
        "minItems", "maxItems", "minimum", "maximum",
    )
)  # fmt: skip
_MORE_KEYWORDS = _KEYWORDS | frozenset(
    (
        "default", "pattern", "format", "minLength", "maxLength", "exclusiveMinimum", "exclusiveMaximum",
        "multipleOf", "minProperties", "maxProperties",
    )
)  # fmt: skip


def chat_faults(body: Json) -> list[str]:
    """Check a chat-completions request."""
    faults = list(_tool_faults([tool["function"] for tool in _tools(body)], "parameters"))
    faults += _choice_faults(body, body.get("tool_choice", "auto"), ("auto", "none", "required"))
    open_calls: list[str] = []
    for at, message in enumerate(body["messages"]):
        where, role = f"message {at}", message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                faults.append(f"{where}: a result without its call before it")
            else:
                open_calls.remove(message["tool_call_id"])
            if not isinstance(message["content"], str):
                faults.append(f"{where}: the content of a result is no text")
            continue
        if open_calls:
            faults.append(f"{where}: calls before it have no result: {open_calls}")
        calls: list[Json] = message.get("tool_calls") or []
        open_calls = [call["id"] for call in calls]
        if len(set(open_calls)) < len(open_calls):
            faults.append(f"{where}: two calls with one id")
        for call in calls:
            if not _NAME.fullmatch(call["function"]["name"]) or not 0 < len(call["id"]) <= 64:
                faults.append(f"{where}: a call with an odd name or id: {call}")
            if not isinstance(_decoded(call["function"]["arguments"]), dict):
                faults.append(f"{where}: arguments that are no object")
        if role == "user" and not message["content"]:
            faults.append(f"{where}: empty")
        if role == "assistant" and not calls and not message["content"]:
            faults.append(f"{where}: empty")
    if open_calls:
        faults.append(f"the end: calls have no result: {open_calls}")
    return faults


def responses_faults(body: Json) -> list[str]:
    """Check a request of the responses API that stores nothing."""
    faults = list(_tool_faults(_tools(body), "parameters"))
    faults += _choice_faults(body, body.get("tool_choice", "auto"), ("auto", "none", "required"))
    for tool in _tools(body):
        if tool.get("strict") is not False and not _is_closed(tool["parameters"]):
            faults.append(f"{tool['name']}: not a strict schema, and strict is the default")
    items: list[Json] = body["input"]
    calls: dict[str, int] = {}
    results: set[str] = set()
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "function_call":
            if item["call_id"] in calls or not 0 < len(item["call_id"]) <= 64:
                faults.append(f"item {at}: a call id twice, or too long")
            calls[item["call_id"]] = at
            if not _NAME.fullmatch(item["name"]) or not isinstance(_decoded(item["arguments"]), dict):
                faults.append(f"item {at}: an odd name, or arguments that are no object")
        elif kind == "function_call_output":
            if item["call_id"] not in calls or item["call_id"] in results:
                faults.append(f"item {at}: no tool call found for the output {item['call_id']}")
            results.add(item["call_id"])
        elif kind == "reasoning":
            if body.get("store") is False and not item.get("encrypted_content") and not item.get("content"):
                faults.append(f"item {at}: reasoning that was not stored has no encrypted content")
            after = items[at + 1] if at + 1 < len(items) else {}
            is_answer = (
                after.get("type") in ("function_call", "reasoning") or after.get("role") == "assistant"
            )
            if not is_answer:
                faults.append(f"item {at}: reasoning without the item that must follow it")
    if calls.keys() - results:
        faults.append(f"no tool output found for the calls {sorted(calls.keys() - results)}")
    return faults


def anthropic_faults(body: Json) -> list[str]:
    """Check a request of the messages API."""
    tools = _tools(body)
    faults = list(_tool_faults(tools, "input_schema"))
    choice: Json = body.get("tool_choice") or {"type": "auto"}
    faults += _choice_faults(body, choice["type"], ("auto", "none", "any"))
    thinking: Json = body.get("thinking") or {}
    thinks = thinking.get("type") == "enabled"
    if thinks and choice["type"] == "any":
        faults.append("thinking with a forced call")
    declared = {tool["name"] for tool in tools}
    expected: list[str] = []
    used: set[str] = set()
    for at, message in enumerate(body["messages"]):
        where, role, blocks = f"message {at}", message["role"], message["content"]
        if role != ("user", "assistant")[at % 2]:
            faults.append(f"{where}: the sides do not take turns from the user on")
        if not blocks:
            faults.append(f"{where}: empty")
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(expected):
            faults.append(f"{where}: results of {results} where those of {expected} belong")
        if any(block["type"] != "tool_result" for block in blocks[: len(results)]):
            faults.append(f"{where}: something before the results")
        expected = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if used & set(expected) or len(set(expected)) < len(expected):
            faults.append(f"{where}: a call id again")
        used |= set(expected)
        for block in blocks:
            faults += [f"{where}: {fault}" for fault in _block_faults(block, role, declared)]
    if expected:
        faults.append(f"the end: calls have no result: {expected}")
    if thinks and (begin := _begin_of_turn(body["messages"])) not in (None, "thinking", "redacted_thinking"):
        faults.append(f"expected thinking, but found {begin}")
    marks = json.dumps(body).count('"cache_control"')
    if marks > 4:
        faults.append(f"{marks} marks for the cache")
    return faults


def _block_faults(block: Json, role: str, declared: set[str]) -> Iterator[str]:
    match block["type"]:
        case "text" if not block["text"].strip():
            yield "a text block without text"
        case "tool_use":
            if role != "assistant" or not isinstance(block["input"], dict):
                yield "a call of the user's, or arguments that are no object"
            if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", block["id"]):
                yield f"an id with odd characters: {block['id']}"
            if block["name"] not in declared:
                yield f"a call of {block['name']}, which is not declared"
        case "tool_result":
            content = block.get("content") or ""
            if block.get("is_error") and not isinstance(content, str):
                yield "an error with other content than text"
        case "thinking" if not block.get("signature"):
            yield "thinking without a signature"
        case _:
            pass


def _begin_of_turn(messages: list[Json]) -> str | None:
    """Return the type of the first block of the turn in progress; None: the turn begins now."""
    start = len(messages) - 1
    while start > 0 and any(block["type"] == "tool_result" for block in messages[start]["content"]):
        start -= 2
    return None if start == len(messages) - 1 else messages[start + 1]["content"][0]["type"]


def google_faults(body: Json) -> list[str]:
    """Check a generateContent request to a model that signs its calls."""
    functions: list[Json] = [function for tool in _tools(body) for function in tool["functionDeclarations"]]
    faults = list(_tool_faults(functions, "parametersJsonSchema", _KEYWORDS, may_lack=True))
    odd = [each["name"] for each in functions if not _GOOGLE_NAME.fullmatch(each["name"])]
    faults += [f"an odd name: {name}" for name in odd]
    config: Json = body.get("toolConfig") or {"functionCallingConfig": {"mode": "AUTO"}}
    mode: str = config["functionCallingConfig"]["mode"]
    faults += _choice_faults(body, mode, ("AUTO", "NONE", "ANY"))
    expected: list[Json] = []
    contents: list[Json] = body["contents"]
    for at, content in enumerate(contents):
        where, parts = f"content {at}", content["parts"]
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if len(results) != len(expected):
            faults.append(f"{where}: {len(results)} function responses for {len(expected)} function calls")
        for call, result in zip(expected, results, strict=False):
            if (call["name"], call.get("id")) != (result["name"], result.get("id")):
                faults.append(f"{where}: the response of {result['name']} where {call['name']} was called")
            if not isinstance(result["response"], dict):
                faults.append(f"{where}: a response that is no object")
        if calls and (at == 0 or contents[at - 1]["role"] != "user" or content["role"] != "model"):
            faults.append(f"{where}: a function call turn must come after a user turn")
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None and not first.get("thoughtSignature"):
            faults.append(f"{where}: a function call without a thought signature")
        if any(not isinstance(call.get("args", {}), dict) for call in calls):
            faults.append(f"{where}: arguments that are no object")
        expected = calls
    if expected:
        faults.append("the end: function calls without responses")
    return faults


STRICT: dict[str, Callable[[Json], list[str]]] = {
    "chat": chat_faults,
    "responses": responses_faults,
    "anthropic": anthropic_faults,
    "google": google_faults,
}
"""The checks by dialect."""


def _tools(body: Json) -> list[Json]:
    return body.get("tools") or []


def _choice_faults(body: Json, choice: object, known: tuple[str, ...]) -> Iterator[str]:
    has_choice = any(name in body for name in ("tool_choice", "toolConfig", "parallel_tool_calls"))
    if has_choice and not body.get("tools"):
        yield "a choice among no tools"
    if choice not in known:
        yield f"an unknown choice: {choice}"


def _tool_faults(
    tools: list[Json], field: str, keywords: frozenset[str] = _MORE_KEYWORDS, *, may_lack: bool = False
) -> Iterator[str]:
    names = [tool["name"] for tool in tools]
    if len(set(names)) < len(names):
        yield f"two tools of one name in {names}"
    for tool in tools:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]) or not isinstance(
            tool["description"], str
        ):
            yield f"an odd name, or no description: {tool['name']}"
        schema = tool.get(field)
        if schema is None and may_lack:
            continue
        if not isinstance(schema, dict) or cast("Json", schema).get("type") != "object":
            yield f"{tool['name']}: the schema is not that of an object"
            continue
        if schema.keys() & {"anyOf", "oneOf", "allOf", "enum", "not"}:
            yield f"{tool['name']}: alternatives at the top level"
        yield from [f"{tool['name']}: {fault}" for fault in _schema_faults(cast("Json", schema), keywords)]


def _schema_faults(schema: Json, keywords: frozenset[str]) -> Iterator[str]:
    if unknown := schema.keys() - keywords:
        yield f"unknown keywords {sorted(unknown)}"
    properties: Json = schema.get("properties", {})
    if not set(schema.get("required", [])) <= properties.keys():
        yield "a required property that there is not"
    if schema.get("type") == "array" and keywords is not _MORE_KEYWORDS and "items" not in schema:
        yield "an array without items"
    inner: list[Any] = [*properties.values(), *schema.get("anyOf", [])]
    inner += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for each in inner:
        if isinstance(each, dict):
            yield from _schema_faults(cast("Json", each), keywords)
        elif not isinstance(each, bool):
            yield f"a schema that is none: {each!r}"


def _is_closed(schema: Json) -> bool:
    properties: Json = schema.get("properties", {})
    return schema.get("additionalProperties") is False and set(schema.get("required", [])) == set(properties)


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
