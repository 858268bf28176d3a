"""`initialize`: its answer, and what is wrong with its options, known without loading anything.

A process that was just started answers it first. Imports the standard library only. A test holds FEATURES
against the method table and the handlers.
"""

from typing import Any, cast

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

LONGEST_INTERVAL_MS = 60_000

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


def option_problems(params: object) -> list[dict[str, Any]]:
    """Return what is wrong with this protocol's own fields of `initialize`, as fields of -32602.

    What else stands there is other servers' or a later version's. A test holds this against the wire models.
    """
    if params is None:
        return []
    if not isinstance(params, dict):
        return [_problem("", "The params are a JSON object, sent by name.")]
    given = cast("dict[str, object]", params).get("initializationOptions")
    if given is None:
        return []
    if not isinstance(given, dict):
        return [_problem("initializationOptions", "must be an object")]
    options = cast("dict[str, object]", given)
    found = {name: _not_text(options.get(name)) for name in ("token", "clientName")}
    found["minIntervalMs"] = _no_interval(options.get("minIntervalMs"))
    return [_problem(f"initializationOptions.{name}", problem) for name, problem in found.items() if problem]


def _not_text(value: object) -> str | None:
    return None if value is None or isinstance(value, str) else "must be a string"


def _no_interval(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return "must be an integer"
    if value < 0:
        return "must be 0 or more"
    return f"must be {LONGEST_INTERVAL_MS} or less" if value > LONGEST_INTERVAL_MS else None


def _problem(path: str, problem: str) -> dict[str, Any]:
    return {"path": path, "problem": problem}
