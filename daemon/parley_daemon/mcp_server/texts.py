"""Chats and messages as other agents get them: names as in the protocol, texts within limits."""

from typing import Any, cast

import msgspec

Json = dict[str, Any]

PAGE = 48_000
"""Characters of texts that one result has at most."""

MAX_MESSAGE = 8_000
"""Characters of one message among others."""

_MAX_ARGUMENTS = 500
_MAX_RESULT = 2_000


def describe_chat(chat: Json) -> Json:
    """Return a chat. `canAsk`: whether messages may be sent to it here (see `why_not`)."""
    return {
        "chatId": chat["id"],
        "title": chat["title"],
        "status": chat["status"],
        "model": chat["model"],
        "archived": chat["archived"],
        "createdAt": chat["createdAt"],
        "updatedAt": chat["updatedAt"],
        "canAsk": why_not(chat) is None,
    }


def why_not(chat: Json) -> str | None:
    """Return why a chat is not asked here, a sentence; None: it is.

    A chat whose model has tools acts on what its messages say, now or later. So it gets no message from
    another agent, not even one that is answered without tools.
    """
    if mode_of(chat) != "off" or chat["kind"] != "chat":
        return (
            "The model of this chat has tools, or had to work for another chat: other agents can read it, and"
            " cannot send messages to it. Begin a new chat: leave chatId out."
        )
    if chat["archived"]:
        return "This chat is archived, and accepts no messages. Begin a new one: leave chatId out."
    return None


def mode_of(chat: Json) -> str:
    """Return the mode of a chat."""
    agent: Any = cast("Json", chat["settings"]).get("agent") or {}
    return str(agent.get("mode") or "off")


def describe_message(message: Json, text: str) -> Json:
    """Return a message with a text; a long one is cut, and says how long it is."""
    shown: Json = {
        "messageId": message["id"],
        "role": message["role"],
        "model": message["model"],
        "createdAt": message["createdAt"],
        "text": text[:MAX_MESSAGE],
    }
    if len(text) > MAX_MESSAGE:
        shown |= {"truncated": True, "characters": len(text)}
    if not message["complete"]:
        shown["complete"] = False
    return shown


def text_of(message: Json, *, in_full: bool = False) -> str:
    """Return what a message says, without reasoning. Calls of tools and their results are named.

    `in_full`: results of tools are not cut.
    """
    texts = [_text_of_part(part, in_full=in_full) for part in message["content"]]
    return "\n\n".join([text for text in texts if text])


def _text_of_part(part: Json, *, in_full: bool) -> str:
    match part["type"]:
        case "text":
            return str(part["text"])
        case "tool-call":
            return f"[call of {part['toolName']}: {_cut(_json(part.get('args')), _MAX_ARGUMENTS)}]"
        case "tool-result":
            result = part.get("result")
            text = result if isinstance(result, str) else _json(result)
            text = text if in_full else _cut(text, _MAX_RESULT)
            return f"[result of {part['toolName']}, {part.get('outcome')}:\n{text}]"
        case "source":
            return f"[source: {part.get('title') or ''} {part.get('url') or ''}]"
        case "file":
            return f"[file: {part.get('mediaType')} {part.get('title') or ''}]"
        case _:
            return ""


def cut_page(text: str, offset: int) -> Json:
    """Return a page of a text from an offset in characters; `nextOffset` is null at its end."""
    end = offset + PAGE
    return {"text": text[offset:end], "characters": len(text), "nextOffset": end if end < len(text) else None}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters)"
