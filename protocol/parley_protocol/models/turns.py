"""Params and results of the methods that run turns: send, ask, interrupt, retry, branches, the queue."""

from typing import Annotated, Any, Literal

from pydantic import Field

from parley_protocol.models.base import ClientMessageId, Count, Id, Params, Token, Wire
from parley_protocol.models.objects import (
    Decision,
    Message,
    QueuedMessage,
    Timings,
    TurnError,
    TurnOutcome,
    Usage,
)
from parley_protocol.models.parts import Content, DeliveredPart
from parley_protocol.models.settings import ModelSettings

WhenBusy = Literal["queue", "steer", "interrupt", "reject"]
Disposition = Literal["started", "queued", "steered", "interrupting"]
ActionOutcome = Literal["allowed", "denied", "interrupted", "expired"]


class ChatSendParams(Params):
    """Params of `chat/send`.

    - `whenBusy` says what happens while a turn runs: wait in the queue, join the running turn before its
      next model call, end it first, or refuse the message.
    - `model` and `settings` apply to this turn only.
    - `clientMessageId` makes the request safe to repeat: a message with an id that the chat already has is
      not sent again, and the first result is returned.
    """

    chat_id: Id
    content: Content
    when_busy: WhenBusy = "queue"
    model: Id | None = None
    """The model for this turn, as "provider:model"; null: the chat's."""
    settings: ModelSettings | None = None
    """Settings for this turn. They take precedence over the chat's."""
    client_message_id: ClientMessageId | None = None


class ChatSendResult(Wire):
    """What happened to a message. `message` is set when it is in the history, `queuedMessage` when it waits
    in the queue. `turnId` is the turn that answers it.
    """

    disposition: Disposition
    turn_id: str | None = None
    message: Message | None = None
    """The message in the history; null: it is in the queue."""
    queued_message: QueuedMessage | None = None


class ChatAskParams(ChatSendParams):
    """Params of `chat/ask`: those of `chat/send`, with tokens for streaming events and LSP's work-done
    progress.
    """

    partial_result_token: Token | None = None
    work_done_token: Token | None = None


class ChatAskResult(Wire):
    """How a turn ended, with the messages that it added. A failed turn is a result with `error`, not an
    error response.

    - `stopReason` is why the model stopped, in the provider's word.
    - `output` is the answer as JSON, if `outputSchema` was set; null otherwise.
    """

    turn_id: str
    outcome: TurnOutcome
    stop_reason: str | None = None
    messages: list[Message]
    """The messages that the turn added, oldest first."""
    sources: list[DeliveredPart] = Field(default_factory=list[DeliveredPart])
    """The sources of its questions, as they are in their messages: what `[S1]` in the answer refers to. If
    they have more than 8 MiB together, large ones are delivered by reference."""
    usage: Usage | None = None
    timings: Timings
    error: TurnError | None = None
    """Why the turn failed; null: it did not."""
    output: Any = None
    children: Annotated[list[str], Field(exclude_if=lambda v: not v)] = Field(default_factory=list[str])
    """The ids of the child chats that go on; absent: none does."""


class ChatInterruptParams(Params):
    """Params of `chat/interrupt`."""

    chat_id: Id
    scope: Literal["turn", "tree"] = "tree"
    """"turn": only the chat's own turn. "tree": its child chats of kind "agent" as well, except those that
    work in the background."""
    children: bool = False
    """true: all its child chats of kind "agent", whatever the scope, also those in the background."""


class ChatRetryParams(Params):
    """Params of `chat/retry`. `messageId` is the user message to answer again, by default the last one."""

    chat_id: Id
    message_id: Count | None = None
    """The user message to answer again; null: the last one."""
    model: Id | None = None
    """The model for this turn, as "provider:model"; null: the chat's."""
    settings: ModelSettings | None = None


class ChatEditMessageParams(Params):
    """Params of `chat/editMessage`. `messageId` is the user message to replace; the old one stays on its own
    branch.
    """

    chat_id: Id
    message_id: Count
    """The user message to replace. It stays on its own branch."""
    content: Content
    model: Id | None = None
    """The model for this turn, as "provider:model"; null: the chat's."""


class ChatRewindParams(Params):
    """Params of `chat/rewind`. `messageId` becomes the last message of the active branch; 0: the chat is
    empty.
    """

    chat_id: Id
    message_id: Count
    """The message that becomes the last one of the active branch; 0: the chat is empty."""


class ChatSelectBranchParams(Params):
    """Params of `chat/selectBranch`. `messageId` is a message on the branch to switch to."""

    chat_id: Id
    message_id: Count
    """A message on the branch to switch to."""


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
    """The whole queue after the change, next message first."""

    queued_messages: list[QueuedMessage]


class ChatCompactParams(Params):
    """Params of `chat/compact`."""

    chat_id: Id


class ChatRespondParams(Params):
    """Params of `chat/respond`.

    - `result` depends on the request. `allow_always`: `{"ruleId"}`, the rule to store; it may be missing if
      one is offered. A denial: `{"reason"}`, which the model reads. `question`: `{"answers"}`. `plan`:
      `{"mode"}`. `tool`: `{"content", "isError"}`.
    - `argsHash` is the one of the request. If it is given, an answer to another hash is refused.
    """

    chat_id: Id
    request_id: Id
    decision: Decision
    result: Any = None
    """What is answered beside the decision, any JSON value; null: nothing."""
    args_hash: Annotated[str, Field(max_length=1024)] | None = None
    """The `argsHash` of the request that was shown; null: it is not compared."""


class ChatRespondResult(Wire):
    """Result of `chat/respond`."""

    outcome: ActionOutcome
    """What became of the request."""
