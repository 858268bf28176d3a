"""The errors of calls that the engine refuses. `server/wire/errors.py` maps each to a wire error."""

from typing import assert_never

from parley_daemon.core.commands import QUEUE_LIMIT, RefusalReason, Refused


class EngineError(Exception):
    """The engine refused a call. The message is a plain sentence for people."""


class ChatNotFoundError(EngineError):
    """There is no such chat, or it belongs to another owner."""


class MessageNotFoundError(EngineError):
    """The chat has no such message."""


class NotAUserMessageError(EngineError):
    """Only user messages can be edited or answered again."""


class NotQueuedError(EngineError):
    """The message is not in the queue: its turn has begun, or it was removed."""


class ChatBusyError(EngineError):
    """A turn is under way in the chat, and the call does not wait for its end."""


class ChatArchivedError(EngineError):
    """The chat is archived and accepts no messages."""


class QueueFullError(EngineError):
    """The chat's queue holds `limit` messages already."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class ConflictError(EngineError):
    """The present state does not allow the call: something has changed, exists already, or is gone."""


class ToolNotFoundError(EngineError):
    """There is no such tool, server of tools, checkpoint, or job."""


class FolderUnreadableError(EngineError):
    """A folder of the chat is gone, or git does not say what has changed in it."""


class ContextUnavailableError(EngineError):
    """The context of a chat cannot be searched."""


class PathOutsideError(EngineError):
    """A path lies in no folder of the chat."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class NotTrustedError(EngineError):
    """A person has not trusted this content of a project."""


class NoSandboxError(EngineError):
    """There is no sandbox, and the configuration demands one."""


class NotAllowedError(EngineError):
    """The caller may not do this."""


class InvalidDecisionError(EngineError):
    """The request does not offer this decision. The message continues a sentence that begins with it."""


class NoDefaultModelError(EngineError):
    """Neither the call nor the chat names a model, and there is no default model."""


class NotLocalError(EngineError):
    """The provider of the model is not local, and only local providers are allowed."""


class ShuttingDownError(EngineError):
    """The daemon is stopping and starts nothing new."""


class UnknownProviderError(EngineError):
    """There is no provider of this name."""


class ReadOnlyConfigurationError(EngineError):
    """The setting comes from the configuration file or the environment and cannot be changed by a call."""


class LimitReachedError(EngineError):
    """A limit of the daemon is reached. `limit` is its value."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class InvalidRuleError(EngineError):
    """A permission rule makes no sense. `path` is that of the field on the wire; the message continues it."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class InvalidArgumentsError(EngineError):
    """A tool does not take these arguments. The message says what it expects."""


class UnknownRuleError(EngineError):
    """There is no permission rule with this id."""


class InvalidConfigurationError(EngineError):
    """A configured value is invalid.

    `field` is the name of the record's field; the message continues a sentence that begins with that name.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def error_for_refusal(refusal: Refused) -> EngineError:
    """Return the error that a caller gets when the state machine refuses a command."""
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
