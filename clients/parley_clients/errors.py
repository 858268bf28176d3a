"""What goes wrong, as exceptions: every one that this package raises on purpose is a ParleyError.

A failed turn is not an error of a call: `Answer.raise_for_outcome` makes one of it for who wants that.
"""

from typing import TYPE_CHECKING, Any, cast

from parley_protocol.errors import ErrorCode

if TYPE_CHECKING:
    from parley_clients.results import Answer


class ParleyError(Exception):
    """Base of all errors of this package, and what an error answer of the daemon becomes.

    `code` is the wire's (an `ErrorCode` where it is known, None when no answer came), `message` one plain
    sentence, `data` what the daemon added. `client_message_id` is set when sending a message failed: with the
    same id it may safely be sent again, whether or not it had arrived.
    """

    def __init__(self, message: str, code: ErrorCode | int | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.data = data
        self.client_message_id: str | None = None


class DaemonUnreachableError(ParleyError):
    """No daemon could be reached, or started."""


class ConnectionLostError(ParleyError):
    """The connection ended before the answer came. Whether the call was carried out is not known."""


class SlowConsumerError(ParleyError):
    """The events of an ask were taken out too slowly and some had to be dropped. Its turn goes on."""


class TurnFailedError(ParleyError):
    """A turn did not complete, see `Answer.raise_for_outcome`; `answer` holds what came of it."""

    def __init__(self, message: str, answer: "Answer") -> None:
        super().__init__(message)
        self.answer = answer


class TurnInterruptedError(TurnFailedError):
    """The turn was interrupted."""


class MethodNotFoundError(ParleyError):
    """-32601: the daemon does not serve this method."""


class InvalidParamsError(ParleyError):
    """-32602: `data["fields"]` names each bad field."""


class RequestCancelledError(ParleyError):
    """-32800: the request was cancelled."""


class ChatNotFoundError(ParleyError):
    """1001: there is no such chat."""


class MessageNotFoundError(ParleyError):
    """1002: the chat has no such message."""


class ChatBusyError(ParleyError):
    """1003: a turn is under way, and the call wanted none."""


class ChatArchivedError(ParleyError):
    """1004: the chat is archived."""


class QueueFullError(ParleyError):
    """1005: no more messages can wait in this chat."""


class ModelNotFoundError(ParleyError):
    """1006: no provider has this model."""


class ProviderUnavailableError(ParleyError):
    """1007: the model's provider cannot be used now; `data["reason"]` says why."""


class AuthenticationError(ParleyError):
    """1008: the token is missing or wrong."""


class NotAllowedError(ParleyError):
    """1009: not allowed here."""


class LimitExceededError(ParleyError):
    """1010: a limit of the daemon would be exceeded; `data["limit"]` names it."""


class ConflictError(ParleyError):
    """1011: already answered, or based on a stale state."""


class NoDefaultModelError(ParleyError):
    """1012: nothing names a model."""


class StoreUnavailableError(ParleyError):
    """1013: the store cannot be read or written now."""


_NAMES: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}

_BY_CODE: dict[int, type[ParleyError]] = {
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
}


def error_from_wire(error: Any) -> ParleyError:
    """Return the exception for the `error` of an answer, whatever it holds."""
    given: dict[str, Any] = cast("dict[str, Any]", error) if isinstance(error, dict) else {}
    code = given.get("code")
    if type(code) is not int:
        return ParleyError("The daemon answered with an error that has no code.", None, error)
    message = str(given.get("message") or f"The daemon answered with error {code}.")
    known = _NAMES.get(code, code)
    return _BY_CODE.get(code, ParleyError)(message, known, given.get("data"))
