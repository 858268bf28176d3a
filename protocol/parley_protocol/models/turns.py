"""Params and results of `chat/…` methods that run turns: send, ask, interrupt, retry, the queue, answers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from parley_protocol.models.base import Count, Id, Params, Token, Wire
from parley_protocol.models.objects import (
    Decision,
    Message,
    QueuedMessage,
    Timings,
    TurnError,
    TurnOutcome,
    Usage,
)
from parley_protocol.models.parts import Content
from parley_protocol.models.settings import ModelSettings

WhenBusy = Literal["queue", "steer", "interrupt", "reject"]
Disposition = Literal["started", "queued", "steered", "interrupting"]
ActionOutcome = Literal["allowed", "denied", "interrupted", "expired"]
ClientMessageId = Annotated[str, Field(min_length=1, max_length=255)]


class ChatSendParams(Params):
    """Params of `chat/send`. The same `clientMessageId` again gets the first answer and starts nothing."""

    chat_id: Id
    content: Content
    when_busy: WhenBusy = "queue"
    model: Id | None = None
    settings: ModelSettings | None = None
    client_message_id: ClientMessageId | None = None


class ChatSendResult(Wire):
    """What became of a message: `message` when it stands in the history, `queuedMessage` when it waits."""

    disposition: Disposition
    turn_id: str | None = None
    message: Message | None = None
    queued_message: QueuedMessage | None = None


class ChatAskParams(ChatSendParams):
    """Params of `chat/ask`: those of `chat/send`, and where to stream events and progress."""

    partial_result_token: Token | None = None
    work_done_token: Token | None = None


class ChatAskResult(Wire):
    """How a turn ended, with the messages that it added. A failed turn is a result, not an error answer.

    `output` is the JSON value of an answer that had to fit an `outputSchema`; null without one.
    """

    turn_id: str
    outcome: TurnOutcome
    stop_reason: str | None = None
    messages: list[Message]
    usage: Usage | None = None
    timings: Timings
    error: TurnError | None = None
    output: Any = None


class ChatInterruptParams(Params):
    """Params of `chat/interrupt`."""

    chat_id: Id


class ChatRetryParams(Params):
    """Params of `chat/retry`. `messageId` is the user message to answer again; default: the last one."""

    chat_id: Id
    message_id: Count | None = None
    model: Id | None = None
    settings: ModelSettings | None = None


class ChatEditMessageParams(Params):
    """Params of `chat/editMessage`. `messageId` is a user message."""

    chat_id: Id
    message_id: Count
    content: Content
    model: Id | None = None


class ChatRewindParams(Params):
    """Params of `chat/rewind`."""

    chat_id: Id
    message_id: Count


class ChatSelectBranchParams(Params):
    """Params of `chat/selectBranch`."""

    chat_id: Id
    message_id: Count


class ChatQueueUpdateParams(Params):
    """Params of `chat/queue/update`."""

    chat_id: Id
    queued_message_id: Id
    content: Content


class ChatQueueRemoveParams(Params):
    """Params of `chat/queue/remove`."""

    chat_id: Id
    queued_message_id: Id


class ChatQueuePromoteParams(Params):
    """Params of `chat/queue/promote`."""

    chat_id: Id
    queued_message_id: Id


class ChatQueueResult(Wire):
    """The whole queue after a change of it, first in line first."""

    queued_messages: list[QueuedMessage]


class ChatCompactParams(Params):
    """Params of `chat/compact`."""

    chat_id: Id


class ChatRespondParams(Params):
    """Params of `chat/respond`. `result` is for requests that ask for more than a decision."""

    chat_id: Id
    request_id: Id
    decision: Decision
    result: Any = None


class ChatRespondResult(Wire):
    """Result of `chat/respond`."""

    outcome: ActionOutcome
