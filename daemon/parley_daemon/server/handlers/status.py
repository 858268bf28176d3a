"""server/status."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import msgspec

from parley_daemon.ports.store import StoreUnavailableError
from parley_daemon.server.call import Call
from parley_protocol.models.server import ServerStatusParams
from parley_protocol.version import PROTOCOL_VERSION, VERSION


async def get_status(call: Call, params: ServerStatusParams) -> Any:
    """Return the state of the daemon. A store that cannot be used is part of the result, not an error."""
    app = call.connection.app
    known = app.engine.store_status
    store: dict[str, Any] = {
        "kind": known.kind,
        "path": known.path,
        "sizeBytes": known.size_bytes,
        "error": await app.engine.find_store_problem(),
    }
    sandbox = await app.engine.find_sandbox()
    chats = 0
    try:
        chats = await app.engine.count_chats()
    except StoreUnavailableError as error:
        store["error"] = store["error"] or str(error)
    return {
        "version": VERSION,
        "protocolVersion": PROTOCOL_VERSION,
        "pid": os.getpid(),
        "startedAt": app.started_at,
        "clients": len(app.clients),
        "chats": chats,
        "runningTurns": app.engine.running_turns,
        "memoryBytes": _resident_bytes(),
        "store": store,
        "mcp": dict(zip(("running", "failed"), app.engine.count_servers(), strict=True)),
        "sandbox": msgspec.to_builtins(sandbox),
        "configuration": {
            "path": app.engine.catalogue.file_defaults.path,
            "error": app.engine.catalogue.complaint,
        },
    }


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:  # not Linux: only the peak is known
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
