"""The answer to `initialize`, and the check of its params.

A process that becomes a daemon answers `initialize` before it loads anything else, so that an editor does not
wait for imports. Therefore the answer depends on nothing but the method table: it is the same for every
client and for every configuration. This module and the table import the standard library only; a test checks
that, and holds `option_problems` against the wire models, which describe the same fields.
"""

from typing import Any, cast

from parley_protocol.methods import METHODS
from parley_protocol.version import PROTOCOL_VERSION, VERSION

MAX_INTERVAL_MS = 60_000
"""The largest `minIntervalMs` that a client may ask for."""

_INCREMENTAL = 2  # LSP's TextDocumentSyncKind


def features() -> dict[str, bool]:
    """Return the methods of this protocol that this version serves, each with the value True."""
    return {name: True for name, row in METHODS.items() if row.is_served and not row.is_lsp}


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
                    "features": features(),
                }
            },
        },
        "serverInfo": {"name": "parleyd", "version": VERSION},
    }


def option_problems(params: object) -> list[dict[str, Any]]:
    """Return what is wrong with this protocol's own fields of `initialize`, as `data.fields` of -32602.

    Each problem is `{"path", "problem"}`. Other fields are ignored: they belong to LSP or to other servers.
    """
    if params is None:
        return []
    if not isinstance(params, dict):
        return [_problem("", "The params must be a JSON object.")]
    given = cast("dict[str, object]", params).get("initializationOptions")
    if given is None:
        return []
    if not isinstance(given, dict):
        return [_problem("initializationOptions", "must be an object")]
    options = cast("dict[str, object]", given)
    found = {name: _text_problem(options.get(name)) for name in ("token", "clientName")}
    found["minIntervalMs"] = _interval_problem(options.get("minIntervalMs"))
    return [_problem(f"initializationOptions.{name}", problem) for name, problem in found.items() if problem]


def _text_problem(value: object) -> str | None:
    return None if value is None or isinstance(value, str) else "must be a string"


def _interval_problem(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return "must be an integer"
    if value < 0:
        return "must be 0 or more"
    return f"must be {MAX_INTERVAL_MS} or less" if value > MAX_INTERVAL_MS else None


def _problem(path: str, problem: str) -> dict[str, Any]:
    return {"path": path, "problem": problem}
