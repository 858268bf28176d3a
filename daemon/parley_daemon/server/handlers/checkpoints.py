"""chat/checkpoints, restore."""

from typing import Any

from msgspec.structs import replace

from parley_daemon.server.call import Call
from parley_daemon.server.wire.errors import invalid_params
from parley_daemon.server.wire.uris import file_uri, local_paths
from parley_protocol.models.agents.checkpoints import ChatCheckpointsParams, ChatRestoreParams


async def list_checkpoints(call: Call, params: ChatCheckpointsParams) -> Any:
    """Return the checkpoints of a chat, the newest first."""
    return [
        {
            "id": one.head.id,
            "turnId": one.head.turn_id,
            "messageId": one.head.message_id,
            "undoes": one.head.undoes,
            "at": one.head.at,
            "files": [replace(file, path=file_uri(file.path)) for file in one.files],
        }
        for one in await call.connection.chats.undo.checkpoints(params.chat_id)
    ]


async def restore(call: Call, params: ChatRestoreParams) -> Any:
    """Put files back."""
    if params.force and params.paths is None:
        problem = "Name the files in paths: force replaces what has changed since."
        raise invalid_params([{"path": "force", "problem": problem}])
    result = await call.connection.chats.undo.restore(
        params.chat_id,
        params.checkpoint_id,
        None if params.paths is None else local_paths(params.paths, "paths"),
        dry_run=params.dry_run,
        force=params.force,
    )
    return {
        "restored": [replace(file, path=file_uri(file.path)) for file in result.restored],
        "conflicts": [replace(file, path=file_uri(file.path)) for file in result.conflicts],
        "checkpointId": result.checkpoint_id,
    }
