"""Turns exceptions into error responses. No other module does that.

The text of an unexpected exception, of a validator or of a provider's library is never sent to a client.
"""

import logging
from typing import Any

import msgspec
from pydantic.alias_generators import to_camel

from parley_daemon.core.agents.answers import InvalidAnswerError
from parley_daemon.engine import errors as engine
from parley_daemon.ports.catalogue import ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.checkpoints import (
    CheckpointNotFoundError,
    CheckpointsUnavailableError,
    PathNotInCheckpointError,
)
from parley_daemon.ports.models import ModelError
from parley_daemon.ports.secrets import SecretsUnavailableError
from parley_daemon.ports.store import ChatTooLargeError, InvalidCursorError, StoreUnavailableError
from parley_protocol.errors import ErrorCode

log = logging.getLogger(__name__)


class WireError(Exception):
    """An error response: a code, one plain sentence, and data for programs."""

    def __init__(self, code: ErrorCode, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> dict[str, Any]:
        """Return the error object of a JSON-RPC response."""
        answer: dict[str, Any] = {"code": int(self.code), "message": self.message}
        if self.data is not None:
            answer["data"] = self.data
        return answer


_CODES: dict[type[Exception], ErrorCode] = {
    engine.ChatNotFoundError: ErrorCode.CHAT_NOT_FOUND,
    engine.MessageNotFoundError: ErrorCode.MESSAGE_NOT_FOUND,
    engine.NotQueuedError: ErrorCode.MESSAGE_NOT_FOUND,
    engine.ChatBusyError: ErrorCode.CHAT_BUSY,
    engine.ChatArchivedError: ErrorCode.CHAT_ARCHIVED,
    engine.ConflictError: ErrorCode.CONFLICT,
    CheckpointNotFoundError: ErrorCode.TOOL_NOT_FOUND,
    CheckpointsUnavailableError: ErrorCode.STORE_UNAVAILABLE,
    engine.ToolNotFoundError: ErrorCode.TOOL_NOT_FOUND,
    engine.FolderUnreadableError: ErrorCode.FOLDER_UNREADABLE,
    engine.ContextUnavailableError: ErrorCode.FOLDER_UNREADABLE,
    engine.NotTrustedError: ErrorCode.NOT_TRUSTED,
    engine.NoSandboxError: ErrorCode.NO_SANDBOX,
    engine.NoDefaultModelError: ErrorCode.NO_DEFAULT_MODEL,
    engine.NotLocalError: ErrorCode.NOT_ALLOWED,
    engine.NotAllowedError: ErrorCode.NOT_ALLOWED,
    engine.ShuttingDownError: ErrorCode.NOT_ALLOWED,
    engine.ReadOnlyConfigurationError: ErrorCode.NOT_ALLOWED,
    SecretsUnavailableError: ErrorCode.STORE_UNAVAILABLE,
    UnknownModelError: ErrorCode.MODEL_NOT_FOUND,
}


def wire_error(error: Exception) -> WireError:
    """Return the error response for an exception. An unexpected one is logged."""
    match error:
        case WireError():
            return error
        case engine.QueueFullError():
            return WireError(ErrorCode.QUEUE_FULL, str(error), {"limit": error.limit})
        case ModelError():
            data = {"reason": "fetch_failed", "error": msgspec.to_builtins(error.failure)}
            return WireError(ErrorCode.PROVIDER_UNAVAILABLE, str(error), data)
        case ProviderUnavailableError():
            return WireError(ErrorCode.PROVIDER_UNAVAILABLE, str(error), {"reason": error.reason})
        case StoreUnavailableError():
            return WireError(ErrorCode.STORE_UNAVAILABLE, str(error))
        case engine.NotAUserMessageError():
            return invalid_params([{"path": "messageId", "problem": str(error)}])
        case engine.InvalidDecisionError():
            return invalid_params([{"path": "decision", "problem": str(error)}])
        case InvalidAnswerError():
            return invalid_params([{"path": "result", "problem": str(error)}])
        case engine.UnknownProviderError():
            return invalid_params([{"path": "provider", "problem": str(error)}])
        case engine.InvalidConfigurationError():
            return invalid_params([{"path": to_camel(error.field), "problem": str(error)}])
        case PathNotInCheckpointError() | engine.PathOutsideError():
            return invalid_params([{"path": "paths", "problem": str(error)}])
        case engine.InvalidRuleError():
            return invalid_params([{"path": error.path, "problem": str(error)}])
        case engine.InvalidArgumentsError():
            return invalid_params([{"path": "args", "problem": str(error)}])
        case engine.UnknownRuleError():
            return invalid_params([{"path": "id", "problem": str(error)}])
        case engine.LimitReachedError():
            return WireError(ErrorCode.LIMIT_EXCEEDED, str(error), {"limit": error.limit})
        case ChatTooLargeError():
            return WireError(ErrorCode.LIMIT_EXCEEDED, str(error), {"limit": error.limit})
        case InvalidCursorError():
            return invalid_params([{"path": "cursor", "problem": str(error)}])
        case UnknownModelError() if error.candidates:
            data = {"candidates": list(error.candidates)}
            return WireError(ErrorCode.MODEL_NOT_FOUND, str(error), data)
        case _ if type(error) in _CODES:
            return WireError(_CODES[type(error)], str(error))
        case _:
            log.error("a request failed because of an unexpected fault", exc_info=error)
            return WireError(
                ErrorCode.INTERNAL_ERROR,
                "An unexpected fault occurred. The daemon's log has the details.",
            )


def invalid_params(fields: list[dict[str, Any]]) -> WireError:
    """Return error -32602. Each of `fields` is `{"path", "problem"}`; the message has the first one."""
    first = fields[0]
    where = f"{first['path']}: " if first["path"] else ""
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return WireError(ErrorCode.INVALID_PARAMS, f"{where}{first['problem']}{more}", {"fields": fields})
