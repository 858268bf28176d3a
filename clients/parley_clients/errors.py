"""The exceptions of this package: a subclass of ParleyError for each error code of the protocol.

ToolFunctionError is none: it is about a function, and no request.

A failed turn is not an error of a call: see `answers.TurnFailedError`.
"""

from typing import Any, cast

from parley_protocol.errors import ErrorCode


class ParleyError(Exception):
    """Base class of all exceptions of this package; also raised itself, for an error code without a class.

    `code` is the error code of the response (an `ErrorCode` if it is known, None if there was no response),
    `message` one sentence, `data` the `data` of the response. `client_message_id` is set if sending a message
    failed: the same message may be sent again with this id, and is not answered twice if it had arrived.
    """

    def __init__(self, message: str, code: ErrorCode | int | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data
        self.client_message_id: str | None = None


class DaemonUnreachableError(ParleyError):
    """The daemon cannot be reached, or cannot be started."""


class ConnectionLostError(ParleyError):
    """The connection was lost before the response. The daemon may or may not have handled the request."""


class SlowConsumerError(ParleyError):
    """The events of a turn were consumed too slowly, so that some were dropped. The turn continues."""


class ToolFunctionError(TypeError):
    """A function cannot be a tool of `Client.register_tool`. The message says what is missing."""


class MethodNotFoundError(ParleyError):
    """-32601: the daemon does not support this method."""


class InvalidParamsError(ParleyError):
    """-32602: the params are invalid; `data["fields"]` names each invalid field."""


class RequestCancelledError(ParleyError):
    """-32800: the request was cancelled."""


class ChatNotFoundError(ParleyError):
    """1001: there is no such chat."""


class MessageNotFoundError(ParleyError):
    """1002: the chat has no such message."""


class ChatBusyError(ParleyError):
    """1003: a turn is running, and the call does not allow that."""


class ChatArchivedError(ParleyError):
    """1004: the chat is archived."""


class QueueFullError(ParleyError):
    """1005: the queue of the chat is full."""


class ModelNotFoundError(ParleyError):
    """1006: no provider has this model."""


class ProviderUnavailableError(ParleyError):
    """1007: the provider of the model is unavailable; `data["reason"]` says why."""


class AuthenticationError(ParleyError):
    """1008: the token is missing or wrong."""


class NotAllowedError(ParleyError):
    """1009: the call is not allowed for this object."""


class LimitExceededError(ParleyError):
    """1010: a limit of the daemon would be exceeded; `data["limit"]` names it."""


class ConflictError(ParleyError):
    """1011: the call conflicts with the current state."""


class NoDefaultModelError(ParleyError):
    """1012: no model was given, and no default model is configured."""


class StoreUnavailableError(ParleyError):
    """1013: the store cannot be read or written at the moment."""


class ToolNotFoundError(ParleyError):
    """1014: there is no such tool, server or checkpoint."""


class NotTrustedError(ParleyError):
    """1015: a person has not trusted this content of the project yet."""


class FolderUnreadableError(ParleyError):
    """1017: a folder of the chat is gone, or git does not say what has changed in it."""


class NoSandboxError(ParleyError):
    """1016: there is no sandbox, and the configuration of the daemon demands one."""


_KNOWN_CODES: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}

_CLASSES: dict[int, type[ParleyError]] = {
    ErrorCode.METHOD_NOT_FOUND: MethodNotFoundError,
    ErrorCode.INVALID_PARAMS: InvalidParamsError,
    ErrorCode.REQUEST_CANCELLED: RequestCancelledError,
    ErrorCode.CHAT_NOT_FOUND: ChatNotFoundError,
    ErrorCode.MESSAGE_NOT_FOUND: MessageNotFoundError,
    ErrorCode.CHAT_BUSY: ChatBusyError,
    ErrorCode.CHAT_ARCHIVED: ChatArchivedError,
    ErrorCode.QUEUE_FULL: QueueFullError,
    ErrorCode.MODEL_NOT_FOUND: ModelNotFoundError,
    ErrorCode.PROVIDER_UNAVAILABLE: ProviderUnavailableError,
    ErrorCode.AUTHENTICATION: AuthenticationError,
    ErrorCode.NOT_ALLOWED: NotAllowedError,
    ErrorCode.LIMIT_EXCEEDED: LimitExceededError,
    ErrorCode.CONFLICT: ConflictError,
    ErrorCode.NO_DEFAULT_MODEL: NoDefaultModelError,
    ErrorCode.STORE_UNAVAILABLE: StoreUnavailableError,
    ErrorCode.TOOL_NOT_FOUND: ToolNotFoundError,
    ErrorCode.NOT_TRUSTED: NotTrustedError,
    ErrorCode.NO_SANDBOX: NoSandboxError,
    ErrorCode.FOLDER_UNREADABLE: FolderUnreadableError,
}


def error_from_wire(error: Any) -> ParleyError:
    """Return the exception for the `error` member of a response. Accepts any JSON value."""
    fields: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    code = fields.get("code")
    if type(code) is not int:
        return ParleyError("The daemon sent an error without an error code.", None, error)
    message = str(fields.get("message") or f"The daemon sent error {code}.")
    return _CLASSES.get(code, ParleyError)(message, _KNOWN_CODES.get(code, code), fields.get("data"))
