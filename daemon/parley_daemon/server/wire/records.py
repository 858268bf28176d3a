"""Core records to wire JSON and back: the one module that knows both (chat_import reads whole files with it).

What goes out is built as plain JSON values and encoded once; nothing on its way out becomes a wire model.
"""

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

import msgspec

from parley_daemon.core.events import (
    Timings,
    TurnEnded,
)
from parley_daemon.core.parts import (
    File,
    Part,
    Piece,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolCallPiece,
    ToolResult,
)
from parley_daemon.core.records import (
    Context,
    Failure,
    Message,
    ModelSettings,
    QueuedMessage,
    Timeouts,
    Usage,
)
from parley_daemon.engine.chats.snapshot import ChatView, Preview, Snapshot
from parley_daemon.ports.store import SearchHit
from parley_protocol.models import parts as wire_parts
from parley_protocol.models.objects import ChatContext as WireContext
from parley_protocol.models.settings import ModelSettings as WireSettings

Json = dict[str, Any]

encode = msgspec.json.encode

# ------------------------------------------------------------------------------- parts


def present(**fields: object) -> Json:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def piece(one: Piece) -> Json:
    """Return a part, or a streamed piece of one: only the fields of its type."""
    match one:
        case Text(text):
            return {"type": "text", "text": text}
        case Reasoning(text, title, signature):
            return {"type": "reasoning", "text": text, **present(title=title, signature=signature)}
        case ToolCall(call_id, name, args):
            return {"type": "tool-call", "toolCallId": call_id, "toolName": name, "args": args}
        case ToolCallPiece(call_id, name, delta):
            return {"type": "tool-call", "toolCallId": call_id, "toolName": name, "argsDelta": delta}
        case ToolResult(call_id, name, result, is_error, outcome):
            return {
                "type": "tool-result",
                "toolCallId": call_id,
                "toolName": name,
                "result": result,
                "isError": is_error,
                "outcome": outcome,
            }
        case Source():
            return {
                "type": "source",
                "sourceId": one.source_id,
                "url": one.url,
                "title": one.title,
                **present(text=one.text, startLine=one.start_line, endLine=one.end_line, score=one.score),
            }
        case File():
            return {
                "type": "file",
                "mediaType": one.media_type,
                **present(data=one.data, url=one.url, title=one.title),
            }
        case _:
            assert_never(one)


def parts(many: Iterable[Piece]) -> list[Json]:
    """Return parts in their order."""
    return [piece(one) for one in many]


def core_part(part: wire_parts.Part) -> Part:
    """Read a whole part that a client sent."""
    match part:
        case wire_parts.TextPart():
            return Text(part.text)
        case wire_parts.ReasoningPart():
            return Reasoning(part.text, part.title, part.signature)
        case wire_parts.ToolCallPart():
            return ToolCall(part.tool_call_id, part.tool_name, part.args)
        case wire_parts.ToolResultPart():
            return ToolResult(part.tool_call_id, part.tool_name, part.result, part.is_error, part.outcome)
        case wire_parts.SourcePart():
            return Source(
                part.source_id, part.url, part.title, part.text, part.start_line, part.end_line, part.score
            )
        case wire_parts.FilePart():
            return File(part.media_type, part.data, part.url, part.title)


# ----------------------------------------------------------------------------- objects


def failure(one: Failure | None) -> Json | None:
    """Return a TurnError."""
    if one is None:
        return None
    return {
        "kind": one.kind,
        "message": one.message,
        "detail": one.detail,
        "provider": one.provider,
        "statusCode": one.status_code,
        "retryable": one.retryable,
        "retryAfterMs": one.retry_after_ms,
    }


def usage(one: Usage | None) -> Json | None:
    """Return a Usage."""
    if one is None:
        return None
    return {
        "inputTokens": one.input_tokens,
        "outputTokens": one.output_tokens,
        "totalTokens": one.total_tokens,
        "reasoningTokens": one.reasoning_tokens,
        "cacheCreationTokens": one.cache_creation_tokens,
        "cacheReadTokens": one.cache_read_tokens,
        "contextLimit": one.context_limit,
        "costUsd": one.cost_usd,
    }


def timings(one: Timings) -> Json:
    """Return a turn's Timings."""
    return {
        "queuedMs": one.queued_ms,
        "firstPartMs": one.first_part_ms,
        "totalMs": one.total_ms,
        "attempts": one.attempts,
    }


_DIALECTS = ("openai", "anthropic", "google", "openaiCompat", "openrouter", "vercel")


def settings(one: ModelSettings) -> Json:
    """Return ModelSettings."""
    limits = one.timeouts
    return {
        "maxOutputTokens": one.max_output_tokens,
        "temperature": one.temperature,
        "topP": one.top_p,
        "topK": one.top_k,
        "presencePenalty": one.presence_penalty,
        "frequencyPenalty": one.frequency_penalty,
        "stop": one.stop,
        "seed": one.seed,
        "outputSchema": one.output_schema,
        "timeouts": {
            "connectMs": limits.connect_ms,
            "firstPartMs": limits.first_part_ms,
            "idleMs": limits.idle_ms,
            "totalMs": limits.total_ms,
        },
        "fallbackModels": one.fallback_models,
        "localOnly": one.local_only,
        "providerOptions": {dialect: one.provider_options.get(dialect) for dialect in _DIALECTS},
    }


def core_settings(one: WireSettings | None) -> ModelSettings:
    """Read ModelSettings; options keep the wire's names, each provider's adapter maps them."""
    if one is None:
        return ModelSettings()
    limits = one.timeouts
    options: Mapping[str, Mapping[str, Any]] = {}
    if one.provider_options is not None:
        options = one.provider_options.model_dump(mode="json", by_alias=True, exclude_none=True)
    return ModelSettings(
        max_output_tokens=one.max_output_tokens,
        temperature=one.temperature,
        top_p=one.top_p,
        top_k=one.top_k,
        presence_penalty=one.presence_penalty,
        frequency_penalty=one.frequency_penalty,
        stop=None if one.stop is None else tuple(one.stop),
        seed=one.seed,
        output_schema=one.output_schema,
        timeouts=Timeouts()
        if limits is None
        else Timeouts(limits.connect_ms, limits.first_part_ms, limits.idle_ms, limits.total_ms),
        fallback_models=None if one.fallback_models is None else tuple(one.fallback_models),
        local_only=one.local_only,
        provider_options=options,
    )


def core_context(one: WireContext | None) -> Context:
    """Read a chat's context."""
    if one is None:
        return Context()
    return Context(tuple(one.repositories), tuple(one.include), tuple(one.exclude), tuple(one.files))


def chat(view: ChatView) -> Json:
    """Return a Chat as it is now."""
    one, origin = view.chat, view.chat.forked_from
    return {
        "id": one.id,
        "owner": one.owner,
        "kind": one.kind,
        "title": one.title,
        "status": str(view.status),
        "lastError": failure(one.last_error),
        "model": one.model,
        "systemPrompt": one.system_prompt,
        "settings": settings(one.settings),
        "context": {
            "repositories": one.context.repositories,
            "include": one.context.include,
            "exclude": one.context.exclude,
            "files": one.context.files,
        },
        "parentChatId": one.parent_chat_id,
        "rootChatId": one.root_chat_id,
        "forkedFrom": None if origin is None else {"chatId": origin.chat_id, "messageId": origin.message_id},
        "archived": one.archived,
        "metadata": one.metadata,
        "usage": usage(one.usage),
        "lastSeq": view.last_seq,
        "lastMessageId": one.last_message_id,
        "createdAt": one.created_at,
        "updatedAt": one.updated_at,
    }


def message(one: Message) -> Json:
    """Return a Message."""
    return {
        "id": one.id,
        "chatId": one.chat_id,
        "parentId": one.parent_id,
        "siblings": list(one.siblings) or [one.id],
        "turnId": one.turn_id,
        "role": one.role,
        "content": parts(one.content),
        "model": one.model,
        "usage": usage(one.usage),
        "complete": one.complete,
        "clientMessageId": one.client_message_id,
        "origin": one.origin,
        "createdAt": one.created_at,
    }


def messages(many: Iterable[Message]) -> list[Json]:
    """Return Messages in their order."""
    return [message(one) for one in many]


def queued(one: QueuedMessage) -> Json:
    """Return a QueuedMessage."""
    return {
        "id": one.id,
        "chatId": one.chat_id,
        "content": parts(one.content),
        "model": one.model,
        "clientMessageId": one.client_message_id,
        "createdAt": one.created_at,
    }


def _preview(one: Preview | None) -> Json | None:
    if one is None:
        return None
    return {
        "messageId": one.message_id,
        "turnId": one.turn_id,
        "role": one.role,
        "parts": [piece(shown) for _, shown in one.pieces],
    }


def snapshot(one: Snapshot) -> Json:
    """Return a Snapshot."""
    return {
        "chat": chat(one.view),
        "messages": messages(one.messages),
        "queuedMessages": [queued(each) for each in one.queue],
        "preview": _preview(one.preview),
        "actionRequests": [],
    }


def hit(one: SearchHit) -> Json:
    """Return a hit of chat/search."""
    return {
        "chatId": one.chat_id,
        "messageId": one.message_id,
        "title": one.title,
        "snippet": one.snippet,
        "score": one.score,
    }


def turn_ended(event: TurnEnded) -> Json:
    """Return what turn_ended and the answer of chat/ask have in common."""
    return {
        "turnId": event.turn_id,
        "outcome": event.outcome,
        "stopReason": event.stop_reason,
        "usage": usage(event.usage),
        "timings": timings(event.timings),
        "error": failure(event.error),
    }
