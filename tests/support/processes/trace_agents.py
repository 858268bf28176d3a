"""The ordering rules of agent turns (7 to 14 of the protocol), checked over the events of one chat.

What a trace cannot know is not assumed: a stream that began in the middle of a turn, or a chat whose mode is
unknown, is checked by what it shows. Rule 14 is in `trace_family`. Rule 15 is about processes: see
`AgentRules.quiet_roots` and `living_processes`.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from tests.support.processes.trace_family import FamilyRules, TraceError

Json = dict[str, Any]

_MAX_RESULT = 68 * 2**10  # bytes: the largest limit of an output, and the words around it
_SAMPLE = 100  # characters of each end of an output that are looked for in its result


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
    """The rules over one stream of events.

    Attributes:
        family: the rules of child chats.
        roots: the paths of the chat's folders.
    """

    def __init__(self) -> None:
        self.family = FamilyRules()
        self._due: tuple[str, str] | None = None  # a turn, and its request that must pause the chat
        self._under_way: set[str] = set()
        self._has_jobs = False
        self._turns: dict[str, _Turn] = {}
        self._open: dict[str, Json] = {}
        self._seen: set[str] = set()
        self._of_children: set[str] = set()
        self._outcomes: dict[str, str] = {}
        self._status: str | None = None
        self._mode: str | None = None
        self.roots: list[str] = []

    def snapshot(self, snapshot: Json) -> None:
        """Take what a subscription begins with."""
        self.family.snapshot(snapshot)
        self._chat(snapshot["chat"])
        if snapshot["chat"].get("status") not in ("waiting", "completed", "error"):
            self._under_way.add("the turn before")
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
        self.family.event(value)
        if self._take_question_of_child(value) or turn_id is None:
            return
        self._check_due(kind, value)
        if kind == "turn_ended":
            self._under_way -= {turn_id, "the turn before"}
        else:
            self._under_way.add(turn_id)
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
                if self._status == "paused":
                    raise TraceError(f"rule 10: call {value['toolCallId']} started while the chat is paused")
            case "action_required":
                self._required(turn, value["request"])
                if turn.is_whole and not self._running(turn) and self._status == "running":
                    self._due = turn_id, value["request"]["id"]
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
        self.roots = [_path(root) for root in roots]

    def _take_question_of_child(self, value: Json) -> bool:
        """Take an event about a question that a child chat asks; return whether it is one."""
        if value["type"] == "action_required":
            request = value["request"]
            if request.get("chatId") in (None, value.get("chatId")):
                return False
            if request["id"] in self._seen:
                raise TraceError(f"rule 10: request {request['id']} came twice")
            self._seen.add(request["id"])
            self._of_children.add(request["id"])
            self._open[request["id"]] = request
            return True
        if value["type"] == "action_resolved" and value["requestId"] in self._of_children:
            self._resolved(value)
            return True
        return False

    def _running(self, turn: _Turn) -> list[str]:
        """Return the calls of the present step that have started, have no result, and do not ask."""
        asking = {request.get("toolCallId") for request in self._open.values()}
        return [
            id for id in turn.pending if id in turn.started and id not in turn.finished and id not in asking
        ]

    def _check_due(self, kind: str, value: Json) -> None:
        """Check that the chat is paused after a question while nothing runs."""
        if self._due is None or kind == "action_required":
            return
        (turn_id, request_id), self._due = self._due, None
        is_answer = kind == "action_resolved" and value["requestId"] == request_id
        if value["turnId"] == turn_id and (is_answer or kind == "turn_ended"):
            raise TraceError(
                f"rule 10: request {request_id} was open, nothing ran, and the chat was not paused"
            )

    def quiet_roots(self) -> list[str]:
        """Return the folders of the chat if no turn is under way and no job was announced, for rule 15."""
        return [] if self._under_way or self._has_jobs else [root for root in self.roots if root != "/"]

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
            self._has_jobs = self._has_jobs or any(_is_job(one.get("args")) for one in calls)
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
        # What servers and child chats say meanwhile is progress, and no part of the result.
        is_progress = part.get("toolName", "").startswith("mcp__") or isinstance(part["result"], dict)
        if output and not is_progress and not part.get("ref"):
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
            path, roots = _path(file["path"]), self.roots
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


def _is_job(args: Any) -> bool:
    return isinstance(args, dict) and bool(cast("Json", args).get("background"))


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
