"""What the engine refuses, as typed errors. One place of the server turns them into wire errors."""

from typing import assert_never

from parley_daemon.core.commands import QUEUE_LIMIT, RefusalReason, Refused


class EngineError(Exception):
    """A call that the engine refused; the message is one plain sentence for people."""


class ChatNotFoundError(EngineError):
    """No such chat, or it belongs to somebody else."""


class MessageNotFoundError(EngineError):
    """No such message in this chat."""


class NotAUserMessageError(EngineError):
    """Only messages of a user can be edited or answered again."""


class NotQueuedError(EngineError):
    """No such message in the queue: it has begun, or was removed."""


class ChatBusyError(EngineError):
    """The chat has a turn under way and the caller did not want to wait."""


class ChatArchivedError(EngineError):
    """The chat is archived and takes no messages."""


class QueueFullError(EngineError):
    """The chat's queue is full."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ConflictError(EngineError):
    """What the call is about has changed or is gone."""


class NoDefaultModelError(EngineError):
    """Neither the call nor the chat names a model, and there is no default one."""


class NotLocalError(EngineError):
    """The model's provider is not local, and only local ones may be asked."""


class ShuttingDownError(EngineError):
    """The daemon is about to stop and begins nothing new."""


class UnknownProviderError(EngineError):
    """No provider has this name."""


class FixedError(EngineError):
    """What the call would change is not set here, but in the configuration's file or the environment."""


class UnfitConfigurationError(EngineError):
    """What was to be configured cannot be so; `field` is the record's, the message goes on after its name."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def error_for_refusal(refusal: Refused) -> EngineError:
    """Return what a caller is told of a refusal by the rules."""
    match refusal.reason:
        case RefusalReason.BUSY:
            return ChatBusyError(str(refusal))
        case RefusalReason.QUEUE_FULL:
            return QueueFullError(str(refusal), QUEUE_LIMIT)
        case RefusalReason.NOT_QUEUED:
            return NotQueuedError(str(refusal))
        case RefusalReason.NOT_ALLOWED_NOW:
            return ConflictError(str(refusal))
        case _:
            assert_never(refusal.reason)
