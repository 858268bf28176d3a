"""The error codes of the protocol, each with a line that says when it is returned.

Codes of JSON-RPC and LSP have their standard meaning. 1001 to 1099 belong to this protocol; a code that is
no longer used stays reserved. `python -m parley_protocol.schema` copies the lines to the protocol page.
"""

from enum import IntEnum


class ErrorCode(IntEnum):
    """The `code` of a JSON-RPC error. `meaning` says in one line when it is returned."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "ErrorCode":
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    PARSE_ERROR = -32700, "The body is not JSON. The response has id null."
    INVALID_REQUEST = -32600, "The message is no valid request: a batch, no object, or sent after `shutdown`."
    METHOD_NOT_FOUND = -32601, "The method is unknown to this version of the daemon."
    INVALID_PARAMS = -32602, "The params are invalid. `data.fields` names each invalid field."
    INTERNAL_ERROR = -32603, "The daemon has a fault. Its log has the details."
    SERVER_NOT_INITIALIZED = -32002, "A request was sent before `initialize`."
    REQUEST_CANCELLED = -32800, "The request was cancelled by `$/cancelRequest`."

    CHAT_NOT_FOUND = 1001, "The user has no chat with this id."
    MESSAGE_NOT_FOUND = 1002, "The chat has no message with this id."
    CHAT_BUSY = 1003, "A turn is running in the chat, and the call does not allow that."
    CHAT_ARCHIVED = 1004, "The chat is archived and accepts no messages."
    QUEUE_FULL = 1005, "The chat's queue is full. `data.limit` is its size."
    MODEL_NOT_FOUND = 1006, "No provider has this model."
    PROVIDER_UNAVAILABLE = 1007, "The model's provider cannot be used now. `data.reason` says why."
    AUTHENTICATION = 1008, "The token is missing or wrong."
    NOT_ALLOWED = 1009, "The call is valid but not allowed in this case."
    LIMIT_EXCEEDED = 1010, "A limit of the daemon would be exceeded. `data.limit` is its value."
    CONFLICT = 1011, "The call conflicts with the current state: already done, or based on an outdated state."
    NO_DEFAULT_MODEL = 1012, "Neither the call nor the chat nor the configuration names a model."
    STORE_UNAVAILABLE = 1013, "The store cannot be read or written now."
    TOOL_NOT_FOUND = 1014, "There is no such tool, server, checkpoint or job."
    NOT_TRUSTED = 1015, "A person has not trusted this content of the project yet."
    NO_SANDBOX = 1016, "There is no sandbox, and the configuration demands one."
    FOLDER_UNREADABLE = (
        1017,
        "A folder of the chat is gone, or cannot be searched, or git does not say what has changed in it.",
    )
