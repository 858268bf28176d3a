"""What agent turns show to clients, as wire objects: questions and changed files. Paths become URIs."""

from typing import Any

from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionRequest
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import Rule, RuleScope
from parley_daemon.core.agents.tools import FileChange, Preview
from parley_daemon.core.children import Child
from parley_daemon.core.events import FilesChanged
from parley_daemon.server.wire.uris import file_uri


def action_request(one: ActionRequest) -> dict[str, Any]:
    """Return an ActionRequest."""
    return {
        "id": one.id,
        "chatId": one.chat_id,
        "turnId": one.turn_id,
        "kind": one.kind,
        "createdAt": one.created_at,
        "title": one.title,
        "toolCallId": one.tool_call_id,
        "toolName": one.tool_name,
        "args": one.args,
        "options": one.options,
        "preview": _preview(one.preview),
        "argsHash": one.args_hash,
        "rules": [offered_rule(rule) for rule in one.rules],
        "human": one.human,
        "expiresAt": one.expires_at,
    }


def child(one: Child) -> dict[str, Any]:
    """Return a ChildChat."""
    return {
        "childChatId": one.chat_id,
        "toolCallId": one.tool_call_id,
        "status": one.status,
        "usage": one.usage,
        "title": one.title,
    }


def offered_rule(rule: Rule) -> dict[str, Any]:
    """Return an OfferedRule."""
    return {"id": rule.id, "text": rule_text(rule), "scope": rule_scope(rule.scope)}


def rule_scope(scope: RuleScope) -> Any:
    """Return where a rule counts: `{"chatId"}`, `{"root"}` or "always"."""
    if scope.chat_id is not None:
        return {"chatId": scope.chat_id}
    return "always" if scope.root is None else {"root": scope.root}


def files_changed(event: FilesChanged) -> dict[str, Any]:
    """Return the event with URIs."""
    return {
        "type": "files_changed",
        "turnId": event.turn_id,
        "toolCallId": event.tool_call_id,
        "checkpointId": event.checkpoint_id,
        "files": [file_change(one) for one in event.files],
    }


def file_change(one: FileChange) -> FileChange:
    """Return a changed file with its URI in place of its path."""
    return replace(one, path=file_uri(one.path))


def _preview(one: Preview) -> dict[str, Any]:
    return {
        "command": one.command,
        "cwd": None if one.cwd is None else file_uri(one.cwd),
        "paths": None if one.paths is None else [file_uri(path) for path in one.paths],
        "diff": one.diff,
        "url": one.url,
        "plan": one.plan,
        "questions": one.questions,
        "network": one.network,
        "form": one.form,
    }
