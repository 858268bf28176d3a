"""chat/gitChanges, diffStatus, diff."""

from typing import Any

from parley_daemon.core.diff_status import DiffStatus
from parley_daemon.server.call import Call
from parley_daemon.server.wire.uris import file_uri, local_paths
from parley_protocol.models.workspace import ChatDiffParams, ChatDiffStatusParams, ChatGitChangesParams


async def list_changes(call: Call, params: ChatGitChangesParams) -> Any:
    """Return the changed files, sorted by path."""
    async with call.connection.chats.open(params.chat_id) as chat:
        changes = await call.connection.app.engine.changes.list(chat.view.chat)
    return [
        {
            "id": one.id,
            "filePath": file_uri(one.path),
            "changeType": one.change_type,
            "oldPath": None if one.old_path is None else file_uri(one.old_path),
            "diffSummary": None if one.additions is None else f"+{one.additions} -{one.deletions or 0}",
            "detectedAt": one.detected_at,
        }
        for one in changes
    ]


async def measure_changes(call: Call, params: ChatDiffStatusParams) -> DiffStatus:
    """Return how much has changed."""
    async with call.connection.chats.open(params.chat_id) as chat:
        status = await call.connection.app.engine.changes.measure(chat.view.chat)
        await chat.set_diff_status(status)
    return status


async def diff_changes(call: Call, params: ChatDiffParams) -> Any:
    """Return what has changed as one diff."""
    paths = None if params.paths is None else local_paths(params.paths, "paths")
    async with call.connection.chats.open(params.chat_id) as chat:
        found = await call.connection.app.engine.changes.diff(chat.view.chat, params.from_message_id, paths)
    return {
        "provider": found.host,
        "remoteOrigin": found.remote,
        "branch": found.branch,
        "pullRequestUrl": found.pull_request_url,
        "diff": found.text,
        "truncated": found.is_truncated,
    }
