"""The answer to `initialize`, known without loading anything: a process that was just started gives it first.

Imports the standard library only. A test holds FEATURES against the method table and the handlers.
"""

from typing import Any

from parley_protocol.version import PROTOCOL_VERSION, VERSION

FEATURES = (
    "chat/create",
    "chat/get",
    "chat/list",
    "chat/update",
    "chat/setModel",
    "chat/setContext",
    "chat/archive",
    "chat/unarchive",
    "chat/delete",
    "chat/fork",
    "chat/search",
    "chat/export",
    "chat/import",
    "chat/subscribe",
    "chat/unsubscribe",
    "chat/watch",
    "chat/unwatch",
    "chat/send",
    "chat/ask",
    "chat/interrupt",
    "chat/retry",
    "chat/editMessage",
    "chat/rewind",
    "chat/selectBranch",
    "chat/compact",
    "chat/queue/update",
    "chat/queue/remove",
    "chat/queue/promote",
    "model/list",
    "provider/list",
    "provider/create",
    "provider/update",
    "provider/delete",
    "provider/check",
    "modelConfig/list",
    "modelConfig/create",
    "modelConfig/update",
    "modelConfig/delete",
    "server/status",
)

_INCREMENTAL = 2


def initialize_result() -> dict[str, Any]:
    """Return the result of `initialize`; it is the same for every client."""
    return {
        "capabilities": {
            "positionEncoding": "utf-16",
            "textDocumentSync": {"openClose": True, "change": _INCREMENTAL, "save": False},
            "workspace": {"workspaceFolders": {"supported": True, "changeNotifications": True}},
            "experimental": {
                "parley": {
                    "protocolVersion": PROTOCOL_VERSION,
                    "features": dict.fromkeys(FEATURES, True),
                }
            },
        },
        "serverInfo": {"name": "parleyd", "version": VERSION},
    }
