"""The answer to `initialize`, and the check of its params.

A process that becomes a daemon answers `initialize` before it loads anything else, so that an editor does not
wait for imports. Therefore the answer depends on nothing but the method table and the client's params: it is
the same for every configuration. This module and the table import the standard library only; a test checks
that, and holds `option_problems` against the wire models, which describe the same fields.
"""

from typing import Any, cast

from parley_protocol.methods import METHODS
from parley_protocol.version import PROTOCOL_VERSION, VERSION

MAX_INTERVAL_MS = 60_000
"""The largest `minIntervalMs` that a client may ask for."""

POSITION_ENCODINGS = ("utf-8", "utf-16", "utf-32")
"""LSP's encodings of positions; a position counts units of one of them."""

_INCREMENTAL = 2  # LSP's TextDocumentSyncKind


def features() -> dict[str, bool]:
    """Return the methods of this protocol that this version serves, each with the value True."""
    return {name: True for name, row in METHODS.items() if not row.is_lsp}


def position_encoding(params: object) -> str:
    """Return the encoding of the client's positions: the first in its list that is known, else UTF-16.

    LSP 3.17 (`general.positionEncodings`): the list is in the order of the client's preference.
    """
    given = _member(_member(_member(params, "capabilities"), "general"), "positionEncodings")
    offered = cast("list[object]", given) if isinstance(given, list) else []
    return next((one for one in offered if isinstance(one, str) and one in POSITION_ENCODINGS), "utf-16")


def _member(value: object, name: str) -> object:
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None


def initialize_result(params: object) -> dict[str, Any]:
    """Return the result of an `initialize` with these params."""
    return {
        "capabilities": {
            "positionEncoding": position_encoding(params),
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
