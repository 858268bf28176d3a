"""The ordering rules of agent turns (7 to 13 of the protocol), checked over the events of one chat.

What a trace cannot know is not assumed: a stream that began in the middle of a turn, or a chat whose mode is
unknown, is checked by what it shows. Rule 15 is about processes: `living_processes`.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

Json = dict[str, Any]

_MAX_RESULT = 68 * 2**10  # bytes: the largest limit of an output, and the words around it
_SAMPLE = 100  # characters of each end of an output that are looked for in its result


class TraceError(AssertionError):
    """The connection broke a rule."""


@dataclass
class _Turn:
    """What is known of one turn."""

    is_whole: bool  # its beginning was seen
    calls: dict[str, Json] = field(default_factory=dict[str, Json])
    pending: list[str] = field(default_factory=list[str])  # calls of the last answer without results
    started: dict[str, Json] = field(default_factory=dict[str, Json])
    permissions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # by call
    questions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # of other kinds, by call
    finished: dict[str, Json] = field(default_factory=dict[str, Json])
    output: dict[str, str] = field(default_factory=dict[str, str])
    started_after: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    acted: bool = False

    def started_since(self, call_id: str) -> list[str]:
        """Return the calls that started after a call had its result."""
        return self.started_after.get(call_id, [])


class AgentRules:
    """The rules over one stream of events."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}
        self._open: dict[str, Json] = {}
        self._seen: set[str] = set()
        self._outcomes: dict[str, str] = {}
        self._status: str | None = None
        self._mode: str | None = None
        self._roots: list[str] = []

    def snapshot(self, snapshot: Json) -> None:
        """Take what a subscription begins with."""
        self._chat(snapshot["chat"])
        self._status = snapshot["chat"].get("status")
        for request in snapshot["actionRequests"]:
            self._open[request["id"]] = request
            self._seen.add(request["id"])

    def event(self, value: Json) -> None:
        """Take the next event of the chat.

        Raises:
            TraceError: it breaks a rule.
        """
        kind, turn_id = value["type"], value.get("turnId")
        if kind == "chat":
            self._chat(value.get("chat") or {})
        if kind == "reset":  # its snapshot is taken, too
            self._turns.clear()
            self._open.clear()
        if turn_id is None:
            return
        turn = self._turns.get(turn_id)
        if turn is None:
            begins = kind == "turn_started" or (kind == "message" and value["message"]["role"] == "user")
            turn = self._turns[turn_id] = _Turn(is_whole=begins)
        match kind:
            case "status":
                self._take_status(value)
            case "message_part":
                self._part(turn, value)
            case "message":
                self._message(turn, value["message"])
            case "preview_reset":
                turn.output.clear()
            case "tool_started":
                self._started(turn, value)
            case "action_required":
                self._required(turn, value["request"])
            case "action_resolved":
                self._resolved(value)
            case "files_changed":
                self._files_changed(turn, value)
            case "turn_ended":
                self._ended(turn, value)
            case _:
                pass

    def _chat(self, chat: Json) -> None:
        settings: Json = chat.get("settings") or {}
        agent: Json = settings.get("agent") or {}
        self._mode = agent.get("mode")
        context: Json = chat.get("context") or {}
        roots: list[str] = context.get("repositories") or []
        self._roots = [_path(root) for root in roots]

    def _take_status(self, value: Json) -> None:
        self._status = value["status"]
        if self._status == "paused" and not self._open:
            raise TraceError("rule 10: paused, and no request is open")

    def _part(self, turn: _Turn, value: Json) -> None:
        part: Json = value["part"]
        if self._status == "paused" and value.get("role") == "assistant":
            raise TraceError("rule 10: the model answers while the chat is paused")
        if part["type"] != "tool-result":
            return
        turn.acted = True
        id = part["toolCallId"]
        if "resultDelta" in part:
            if part["resultDelta"] and turn.is_whole and id not in turn.started:
                raise TraceError(f"rule 8: output of call {id} before it started")
            turn.output[id] = turn.output.get(id, "") + part["resultDelta"]
        else:
            self._result(turn, part)

    def _message(self, turn: _Turn, message: Json) -> None:
        content: list[Json] = message["content"]
        if message["role"] == "assistant":
            if turn.pending and self._counts(turn):
                raise TraceError(f"rule 7: another answer before the results of {turn.pending}")
            calls = [part for part in content if part["type"] == "tool-call"]
            turn.calls |= {part["toolCallId"]: part for part in calls}
            turn.pending = [part["toolCallId"] for part in calls]
            turn.finished = {id: part for id, part in turn.finished.items() if id not in turn.pending}
        elif message["role"] == "tool":
            turn.acted = True
            results = [part["toolCallId"] for part in content if part["type"] == "tool-result"]
            if turn.is_whole and results != turn.pending:
                raise TraceError(f"rule 7: results of {results} for the calls {turn.pending}")
            for part in content:
                if part["toolCallId"] not in turn.finished:
                    self._result(turn, part)
            turn.pending = []

    def _result(self, turn: _Turn, part: Json) -> None:
        id, outcome = part["toolCallId"], part["outcome"]
        turn.finished[id] = part
        turn.started_after.setdefault(id, [])
        output = turn.output.get(id, "")
        if outcome == "denied":
            if id in turn.started or output:
                raise TraceError(f"rule 8: call {id} was denied, and it started")
            asked = turn.permissions.get(id, [])
            if asked and self._outcomes.get(asked[-1]) == "allowed":
                raise TraceError(f"rule 11: call {id} was allowed, and its result is denied")
        text = part["result"] if isinstance(part["result"], str) else json.dumps(part["result"])
        if outcome == "timed_out" and not re.search(r"\d", text):
            raise TraceError(f"rule 11: call {id} timed out, and its result names no limit")
        if output and not part.get("ref") and not part["toolName"].startswith("mcp__"):
            ends = (output[:_SAMPLE].strip(), output[-_SAMPLE:].strip())
            if any(end not in text for end in ends) or len(text.encode()) > _MAX_RESULT:
                raise TraceError(f"rule 12: the result of call {id} is not head and tail of its output")

    def _started(self, turn: _Turn, value: Json) -> None:
        id, turn.acted = value["toolCallId"], True
        for since in turn.started_after.values():
            since.append(id)
        if turn.is_whole and (id not in turn.pending or id in turn.finished):
            raise TraceError(f"rule 8: call {id} started before its message or after its result")
        if id in turn.started and id in turn.pending and turn.started[id]["messageId"] == value["messageId"]:
            raise TraceError(f"rule 8: call {id} started twice")
        turn.started[id] = value
        asked = turn.permissions.get(id)
        if asked:
            if self._outcomes.get(asked[-1]) != "allowed":
                raise TraceError(f"rule 9: call {id} started without the permission it had asked for")
            if value["allowedBy"] != f"request:{asked[-1]}":
                raise TraceError(f"rule 9: call {id} is allowed by {value['allowedBy']}")
        elif turn.is_whole and value["allowedBy"].startswith("request:"):
            asked = turn.questions.get(id, [])
            if value["allowedBy"] in [
                f"request:{one}" for one in asked if self._outcomes.get(one) == "allowed"
            ]:
                return
            raise TraceError(f"rule 9: nobody was asked about call {id}")

    def _required(self, turn: _Turn, request: Json) -> None:
        id, turn.acted = request["id"], True
        if id in self._seen:
            raise TraceError(f"rule 10: request {id} came twice")
        self._seen.add(id)
        self._open[id] = request
        if request.get("toolCallId") is not None:
            of_kind = turn.permissions if request["kind"] == "permission" else turn.questions
            of_kind.setdefault(request["toolCallId"], []).append(id)

    def _resolved(self, value: Json) -> None:
        id = value["requestId"]
        if self._open.pop(id, None) is None:
            raise TraceError(f"rule 10: request {id} was resolved, and it was not open")
        self._outcomes[id] = value["outcome"]

    def _files_changed(self, turn: _Turn, value: Json) -> None:
        id = value["toolCallId"]
        if turn.is_whole and id not in turn.finished:
            raise TraceError(f"rule 13: files of call {id} before its result")
        for file in value["files"]:
            path, roots = _path(file["path"]), self._roots
            if roots and not any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots):
                raise TraceError(f"rule 13: {path} is below none of {roots}")
            for later in turn.started_since(id):
                args: Any = turn.calls.get(later, {}).get("args")
                named: Any = cast("Json", args).get("path") if isinstance(args, dict) else None
                if isinstance(named, str) and named and path.endswith(f"/{named.removeprefix('/')}"):
                    raise TraceError(f"rule 13: call {later} of {named} started before that was told")

    def _ended(self, turn: _Turn, value: Json) -> None:
        if turn.pending and self._counts(turn):
            raise TraceError(f"rule 7: the turn ended without the results of {turn.pending}")
        left = [id for id, request in self._open.items() if request["turnId"] == value["turnId"]]
        if left:
            raise TraceError(f"rule 10: the turn ended, and {left} are open")
        if turn.is_whole and value.get("outcome") == "completed":
            cut = [id for id, part in turn.finished.items() if part["outcome"] == "interrupted"]
            if cut:
                raise TraceError(f"rule 11: {cut} are interrupted in a turn that was not")

    def _counts(self, turn: _Turn) -> bool:
        """Return whether the calls of a turn must have results: chats without tools run none."""
        return turn.is_whole and (turn.acted or self._mode not in (None, "off"))


def _path(uri: str) -> str:
    return unquote(urlsplit(uri).path)


def living_processes(words: str) -> list[str]:
    """Return the command lines of living processes that have these words, for rule 15.

    A test that starts processes marks them by words of its own. It finds those that have lost their parents.
    """
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if words in command:
                found.append(command)
    return found
