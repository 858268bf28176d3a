"""The port to language models: the request of one model call, the chunks of its answer, and its errors."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

import msgspec

from parley_daemon.core.parts import Part, Piece
from parley_daemon.core.records import Failure, ModelSettings, Role, Usage

StopReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]
Purpose = Literal["answer", "title", "summary"]
ToolChoice = Literal["auto", "none", "required"]


class PromptMemory:
    """What a model may keep the encoded beginning of a chat's requests by, until the next one.

    It belongs to one chat and lives as long as the chat is in memory.
    """

    __slots__ = ("__weakref__",)


class PromptMessage(msgspec.Struct, frozen=True, gc=False):
    """One message as it is sent to a model."""

    role: Role
    parts: tuple[Part, ...]


class ToolDeclaration(msgspec.Struct, frozen=True, gc=False):
    """A tool that a model may call. `input_schema` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    input_schema: dict[str, Any]


class AnswerLimits(msgspec.Struct, frozen=True, gc=False):
    """How large an answer may be. An answer that is larger fails with kind `limit`; its beginning is kept.

    Attributes:
        size: bytes of all texts, arguments and files (files in base64).
        call_size: bytes of the arguments of one tool call, as JSON.
        calls: tool calls.
        parts: parts of all types.
    """

    size: int = 32 * 2**20
    call_size: int = 2 * 2**20
    calls: int = 256
    parts: int = 2_000


class ModelRequest(msgspec.Struct, frozen=True, gc=False):
    """One model call.

    `model` is the provider's own name of the model. Every limit in `settings.timeouts` is set. `limits` are
    enforced by the caller, too; a model need not read more than they allow.

    `tools` are the tools that the model may call, in a stable order. Tools that only the history names are
    declared by the dialects that require it. `tool_choice`: "none" forbids calls, "required" demands one.

    `memory` is that of the chat. If there is one, the messages of an earlier request are the same objects.
    """

    model: str
    messages: tuple[PromptMessage, ...]
    system_prompt: str | None = None
    settings: ModelSettings = ModelSettings()
    purpose: Purpose = "answer"
    tools: tuple[ToolDeclaration, ...] = ()
    tool_choice: ToolChoice = "auto"
    limits: AnswerLimits = AnswerLimits()
    memory: PromptMemory | None = None


class UsageReport(msgspec.Struct, frozen=True, gc=False):
    """The tokens that the call has used so far. A later report replaces an earlier one."""

    usage: Usage


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The answer is complete, and why the model stopped. A stream that ends without a Finish has failed.

    It is sent as soon as the reason is known. A usage report and sources may follow it. When anything else
    follows, the answer was not complete after all: another Finish comes at its end.
    """

    reason: StopReason


Chunk = Piece | UsageReport | Finish
Batch = Sequence[Chunk]


class ModelError(Exception):
    """A model call failed. The message of `failure` says what a user can do, and holds no secrets.

    `of_provider`: the limit that was reached is one of all models of the provider.
    """

    def __init__(self, failure: Failure, *, of_provider: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.of_provider = of_provider


class EmptyAnswerError(ModelError):
    """The answer was complete and held nothing. The same request is worth one more attempt at most."""


class Model(Protocol):
    """One provider, ready for calls. A call names the provider's model in its request."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Call the model and yield its answer, one batch for each network read.

        An empty batch is a sign of life (a keep-alive). The model enforces the connect timeout. The caller
        enforces the timeouts for the first part, for silence and for the whole call: it may close the
        generator or cancel it at any yield or wait, and the connection is then closed at once.

        Raises:
            ModelError: for everything that goes wrong with the call.
        """
        ...

    async def warm(self) -> None:
        """Load what the first call needs, so that it does not wait for imports. Does no network I/O."""
        ...

    async def aclose(self) -> None:
        """Close the pooled connections. A later call opens new ones."""
        ...
