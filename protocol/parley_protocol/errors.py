"""The error codes of the wire, each with its one-line meaning. Knows no models.

JSON-RPC's and LSP's codes keep their meaning. 1001 to 1099 are the project's own: a code that goes out of
use stays reserved.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """The `code` of a JSON-RPC error. `meaning` says in one line when it is answered."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "ErrorCode":
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    PARSE_ERROR = -32700, "The body is not JSON; the answer has id null."
    INVALID_REQUEST = -32600, "Not one JSON-RPC request: a batch, no object, or a request after `shutdown`."
    METHOD_NOT_FOUND = -32601, "No such method, or one that this version does not serve."
    INVALID_PARAMS = -32602, "Params of a wrong shape; `data.fields` names each bad field."
    INTERNAL_ERROR = -32603, "A fault of the daemon; its log says more."
    SERVER_NOT_INITIALIZED = -32002, "A request came before `initialize`."
    REQUEST_CANCELLED = -32800, "The request was cancelled by `$/cancelRequest`."

    CHAT_NOT_FOUND = 1001, "No chat of yours has this id."
    MESSAGE_NOT_FOUND = 1002, "The chat has no message with this id."
    CHAT_BUSY = 1003, "The chat has a turn under way, and the call wanted none."
    CHAT_ARCHIVED = 1004, "The chat is archived and takes no messages."
    QUEUE_FULL = 1005, "The chat's queue holds as many messages as it may; `data.limit` says how many."
    MODEL_NOT_FOUND = 1006, "No provider has this model."
    PROVIDER_UNAVAILABLE = 1007, "The model's provider cannot be used now; `data.reason` says why."
    AUTHENTICATION = 1008, "A token is required, or the one given is wrong."
    NOT_ALLOWED = 1009, "The call is understood and not allowed here."
    LIMIT_EXCEEDED = 1010, "A limit of the daemon would be exceeded; `data.limit` names it."
    CONFLICT = 1011, "Already answered, already archived, or based on a stale state."
    NO_DEFAULT_MODEL = 1012, "Neither the call nor the chat nor the configuration names a model."
    STORE_UNAVAILABLE = 1013, "The store cannot be read or written now."
