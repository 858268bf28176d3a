"""The texts that `parley` prints about turns and messages. Control characters in them are replaced."""

import re

from parley_clients.results import Json

CLIENT_NAME = "parley"
"""The origin of messages that the command line sends, and who it is in answers to questions."""

_SYMBOLS = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)}
_SYMBOLS[0x7F] = 0x2421
# A carriage return is removed: it would let the rest of the line overwrite what is before it.
_ESCAPES: dict[int, int | str | None] = {
    **_SYMBOLS,
    0x0D: None,
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    # These reorder the text around them, so that it reads otherwise than it is.
    **{code: f"<U+{code:04X}>" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}


def escape_controls(text: str) -> str:
    """Replace control characters by symbols (ESC by ␛), so that a text cannot control the terminal.

    Line feeds and tabs are kept.
    """
    return text.translate(_ESCAPES)


def one_line(text: str) -> str:
    """Return the text on one line, with control characters replaced."""
    return escape_controls(" ".join(text.split(None)))


def first_lines(text: str, count: int) -> str:
    """Return the text, or its first lines and the number of the others."""
    *lines, rest = text.split("\n", count)
    more = rest.count("\n") + 1
    return text if more == 1 else "\n".join([*lines, f"… {more} more lines"])


# -------------------------------------------------------------------------------- turns


def turn_summary(ended: Json, model: str | None) -> str:
    """Return one line about a turn that has ended: an interruption, the model, tokens, cost, time."""
    usage: Json = ended.get("usage") or {}
    fields: list[str] = []
    if ended["outcome"] == "interrupted":
        fields.append("interrupted, the partial answer is kept")
    if model:
        fields.append(one_line(model))
    if usage.get("inputTokens") is not None and usage.get("outputTokens") is not None:
        fields.append(f"{usage['inputTokens']} + {usage['outputTokens']} tokens")
    elif usage.get("totalTokens") is not None:
        fields.append(f"{usage['totalTokens']} tokens")
    if usage.get("costUsd") is not None:
        fields.append(f"${usage['costUsd']:.4f}")
    milliseconds = ended["timings"]["totalMs"]
    if milliseconds:
        fields.append(f"{milliseconds / 1000:.1f} s")
    return " · ".join(fields)


def fallback_message(retry: Json, model: str | None) -> str | None:
    """Return the message of a `retry` event that switches from `model` to another model, else None.

    `model` is None if the turn began before the first event. The event has a delay if the same model is
    called again, and none if the model is switched.
    """
    other = retry.get("model")
    if other is None or other == model or (model is None and retry["delayMs"]):
        return None
    return one_line(f"{retry['error']['message']} Now calling {other} instead.")


# What can be done in the words of the shell. The daemon's messages of the other kinds say it themselves.
_ADVICE = {
    "overloaded": "Try again in a moment, or choose another model with --model.",
    "timeout": "Try again, or change the times in [limits] of the configuration.",
    "stream_idle": "Try again, or change the times in [limits] of the configuration.",
    "model_not_found": "See parley models.",
}
_CHECK_URL = re.compile(r"\b([Cc]heck) base_url\b")
_QUOTED = 40  # characters after which a quotation counts as the same


def describe_turn_error(error: Json | None) -> str:
    """Return why a turn failed, and advice. The provider's words stand in it once."""
    if error is None:
        return "The turn failed."
    message, detail = one_line(error["message"]), one_line(error.get("detail") or "")
    message = _CHECK_URL.sub(r"\1 the address (--url, or base_url in the file)", message)
    advice = "" if "(totalMs)" in message else _ADVICE.get(error["kind"], "")
    if error["kind"] == "auth" and message.endswith("the configured API key."):
        name = one_line(error.get("provider") or "NAME")
        advice = f'Replace it: "parley provider set {name} --key", or api_key in the configuration file.'
    if detail and not _is_quoted(detail, message):
        message = f"{message} ({detail})"
    return f"{message} {advice}".rstrip()


def _is_quoted(detail: str, message: str) -> bool:
    """Return whether a message quotes a detail, or the part of it that matters."""
    quotation = message.partition(": ")[2]
    return detail.rstrip(".")[:_QUOTED] in message or (
        len(quotation) >= _QUOTED and quotation[:_QUOTED] in detail
    )


def describe_failed_turn(ended: Json, chat_id: str) -> str | None:
    """Return why a turn failed or was cut off when the daemon stopped; None for any other outcome."""
    error: Json | None = ended["error"]
    if error is not None and error["kind"] == "daemon_lost":
        command = f"parley show {chat_id[-8:]}"
        return f"The daemon was stopped during the answer. The partial answer is kept: {command}."
    return describe_turn_error(error) if ended["outcome"] == "failed" else None


_LIMITS = {"max_steps": "agent.maxSteps", "max_cost": "agent.maxCostUsd", "max_time": "agent.maxMs"}


def describe_cut_answer(ended: Json) -> str | None:
    """Return what is missing in the answer of a turn that completed, given its result; None: nothing."""
    if ended["outcome"] != "completed":
        return None
    match ended["stopReason"]:
        case "length":
            return "The answer reached its token limit and is cut off. See maxOutputTokens in the settings."
        case "content_filter" if not has_answer(ended):
            return "The provider's content filter refused the message; later requests leave it out."
        case "content_filter":
            return "The provider's content filter stopped the answer."
        case "max_steps" | "max_cost" | "max_time" as limit:
            return f"The turn reached its limit ({_LIMITS[limit]}). Send a message to go on."
        case "loop":
            return "The model repeated the same calls without getting on, so the turn was ended."
        case "tool_calls" if not has_answer(ended):
            return "The model called tools and gave no answer."
        case _:
            return None


def has_answer(ended: Json) -> bool:
    """Return whether the result of a turn has something to show: text or a file."""
    parts = [part for message in ended.get("messages") or () for part in message["content"]]
    return any(part["type"] == "file" or (part["type"] == "text" and part["text"].strip()) for part in parts)


# ----------------------------------------------------------------------------- messages


def message_text(message: Json) -> str:
    """Return what a message says on a terminal: its texts, and the names of its files."""
    return parts_as_markdown([part for part in message["content"] if part["type"] in ("text", "file")])


def message_author(message: Json) -> str:
    """Return the author of a message, and whether it was cut short."""
    role: str = message["role"]
    name = "You" if role == "user" else role.capitalize()
    if role == "assistant" and message["model"]:
        name = one_line(message["model"])
    if message.get("refused"):  # missing in older daemons
        return f"{name} (refused by the provider)"
    return name if message["complete"] else f"{name} (cut short)"


def parts_as_markdown(parts: list[Json]) -> str:
    """Return the parts of a message as Markdown, without reasoning."""
    blocks: list[str] = []
    for part in parts:
        match part["type"]:
            case "text":
                blocks.append(part["text"].strip("\n"))
                if part.get("ref"):
                    blocks.append(f"[… the beginning of {part['size'] / 2**20:.1f} MiB]")
            case "source":
                blocks.append(source_line(part))
            case "tool-call" | "tool-result":
                blocks.append(f"[{part['type']} {part['toolName']}]")
            case "file":
                blocks.append(f"[file {part.get('title') or part['mediaType']}]")
            case _:
                pass
    return escape_controls("\n\n".join(block for block in blocks if block))


def source_line(part: Json) -> str:
    """Return one line with the title, the lines and the address of a source."""
    title = f"{one_line(part['title'])}{lines_of(part)}"
    return f"source: {title}  {one_line(part['url'])}".rstrip()


def lines_of(source: Json) -> str:
    """Return the lines of a source as they follow the name of its file, such as ":3-17"."""
    start, end = source.get("startLine"), source.get("endLine")
    return "" if start is None else f":{start}" if end in (None, start) else f":{start}-{end}"


def transcript(snapshot: Json, *, ids: bool = False) -> list[tuple[str, list[Json]]]:
    """Return the author and the parts of each message in the result of `chat/get`.

    The answer that is being streamed and the queued messages are included.
    """
    entries = [
        (f"{message_author(m)} · {m['id']}" if ids else message_author(m), m["content"])
        for m in snapshot["messages"]
    ]
    if snapshot["preview"]:
        entries.append(("In progress", snapshot["preview"]["parts"]))
    entries += [("You (waiting in the queue)", message["content"]) for message in snapshot["queuedMessages"]]
    return entries
