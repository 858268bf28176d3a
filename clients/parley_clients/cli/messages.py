"""What is said of a turn and of messages, in words that are safe to be shown. Knows no terminal."""

from parley_clients.cli.display.sanitize import clean, one_line
from parley_clients.results import Json


def summary(ended: Json, model: str | None) -> str:
    """Say in one line how a turn went: its outcome if it is not a success, model, tokens, time."""
    usage: Json = ended.get("usage") or {}
    said: list[str] = []
    if ended["outcome"] == "interrupted":
        said.append("interrupted, what there is of the answer is kept")
    if model:
        said.append(one_line(model))
    if usage.get("inputTokens") is not None and usage.get("outputTokens") is not None:
        said.append(f"{usage['inputTokens']} + {usage['outputTokens']} tokens")
    elif usage.get("totalTokens") is not None:
        said.append(f"{usage['totalTokens']} tokens")
    if usage.get("costUsd") is not None:
        said.append(f"${usage['costUsd']:.4f}")
    milliseconds = ended["timings"]["totalMs"]
    if milliseconds:
        said.append(f"{milliseconds / 1000:.1f} s")
    return " · ".join(said)


def fallen_back(retry: Json, model: str | None) -> str | None:
    """Say which model is asked in place of `model`, as a `retry` event tells it; None: it is no other one.

    Of a turn that was under way already (`model` None), a wait tells that the same model is meant.
    """
    other = retry.get("model")
    if other is None or other == model or (model is None and retry["delayMs"]):
        return None
    return one_line(f"{retry['error']['message']} {other} is asked instead.")


_ADVICE = {
    "auth": "Check the provider's key in the configuration.",
    "missing_key": "Set the provider's key in the environment or the configuration.",
    "rate_limit": "Wait a little and ask again.",
    "usage_limit": "The provider's account has no quota left; choose another model with --model.",
    "overloaded": "Ask again in a moment, or choose another model with --model.",
    "timeout": "Ask again; [limits] in the configuration says how long to wait (first_part_ms).",
    "stream_idle": "Ask again; [limits] in the configuration says how long to wait (idle_ms).",
    "context_length": "Start a new chat, or ask with less.",
    "model_not_found": "See parley models.",
    "network": "Check the network and the provider's base_url.",
}


def failure(error: Json | None) -> str:
    """Say why a turn failed and what to do."""
    if error is None:
        return "The turn failed."
    advice = _ADVICE.get(error["kind"], "")
    detail = f" ({error['detail']})" if error.get("detail") else ""
    return f"{one_line(error['message'] + detail)} {advice}".rstrip()


def failed(ended: Json, chat_id: str) -> str | None:
    """Say why a turn came to no good end, if it did: it failed, or the daemon was stopped in the middle."""
    error: Json | None = ended["error"]
    if error is not None and error["kind"] == "daemon_lost":
        said = f"parley show {chat_id[-8:]}"
        return f"The daemon was stopped in the middle of the answer. What there is of it is kept: {said}."
    return failure(error) if ended["outcome"] == "failed" else None


def question(message: Json) -> str:
    """Return what a person asked, as text."""
    return clean("".join([part["text"] for part in message["content"] if part["type"] == "text"]))


def speaker(message: Json) -> str:
    """Say who said a message, and whether it was cut short."""
    role: str = message["role"]
    name = "You" if role == "user" else role.capitalize()
    if role == "assistant" and message["model"]:
        name = one_line(message["model"])
    return name if message["complete"] else f"{name} (cut short)"


def readable(parts: list[Json]) -> str:
    """Return what a person would read of a message's parts, as Markdown."""
    said: list[str] = []
    for part in parts:
        match part["type"]:
            case "text":
                said.append(part["text"].strip("\n"))
            case "source":
                said.append(source(part))
            case "tool-call" | "tool-result":
                said.append(f"[{part['type']} {part['toolName']}]")
            case "file":
                said.append(f"[file {part.get('title') or part['mediaType']}]")
            case _:
                pass
    return clean("\n\n".join(text for text in said if text))


def source(part: Json) -> str:
    """Name a source."""
    return f"source: {one_line(part['title'])}  {one_line(part['url'])}".rstrip()


def conversation(whole: Json, *, ids: bool = False) -> list[tuple[str, list[Json]]]:
    """Return who said what in the result of `chat/get`, the message in progress and the queue included."""
    found = [
        (f"{speaker(message)} · {message['id']}" if ids else speaker(message), message["content"])
        for message in whole["messages"]
    ]
    if whole["preview"]:
        found.append(("Being written now", whole["preview"]["parts"]))
    found += [("You (waiting in the queue)", message["content"]) for message in whole["queuedMessages"]]
    return found
