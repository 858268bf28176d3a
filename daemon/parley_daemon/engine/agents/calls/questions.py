"""The open questions of a step: waiting for their answers, and what is asked."""

from collections.abc import Callable
from datetime import datetime

import anyio
from msgspec.structs import replace

from parley_daemon.core.agents.actions import ActionDecision, ActionRequest, Answer
from parley_daemon.core.agents.rules import Reach, Verdict
from parley_daemon.core.agents.tools import ActionKind, Inspection
from parley_daemon.core.agents.visibility import is_visible
from parley_daemon.core.parts import ToolCall
from parley_daemon.engine.agents.host import StepBrief

CLIENT_SECONDS = 300.0
"""How long a client may take to run a tool of its own, if the tool says nothing."""


_NETWORKS: dict[Reach, str] = {"all": "with network", "loopback": "with a loopback of its own"}


class OpenQuestions:
    """The calls that wait for an answer. `on_answer` is called at once when an answer comes."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._waiting: dict[str, anyio.Event] = {}
        self._answers: dict[str, Answer] = {}
        self._on_answer = on_answer

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request_id: str) -> None:
        """Note that a question is open."""
        self._waiting[request_id] = anyio.Event()

    def resolve(self, request_id: str, answer: Answer) -> None:
        """Give an answer to the call that waits for it."""
        waiting = self._waiting.pop(request_id, None)
        if waiting is not None:
            self._answers[request_id] = answer
            self._on_answer()
            waiting.set()

    def is_open(self, request_id: str) -> bool:
        """Return whether a question was added and has no answer yet."""
        return request_id in self._waiting

    def forget(self, request_id: str) -> None:
        """Note that nobody waits for an answer any more."""
        self._waiting.pop(request_id, None)
        self._answers.pop(request_id, None)

    async def answer(self, request_id: str) -> Answer:
        """Wait for the answer to a question that was added."""
        waiting = self._waiting.get(request_id)
        if waiting is not None:
            await waiting.wait()
        return self._answers.pop(request_id)


def make_request(
    kind: ActionKind,
    call: ToolCall,
    inspection: Inspection,
    args_hash: str,
    *,
    id: str,
    chat_id: str,
    turn_id: str,
    now: str,
    expires_at: str | None = None,
    verdict: Verdict | None = None,
) -> ActionRequest:
    """Return the question of this kind about a call. `verdict`: what the policy says, if it asks."""
    offered = verdict.rememberable if verdict is not None and kind == "permission" else ()
    rules = tuple([replace(rule, id=str(number)) for number, rule in enumerate(offered, start=1)])
    options: tuple[ActionDecision, ...] = ("allow", "allow_always", "deny") if rules else ("allow", "deny")
    title = _one_line(inspection.title)
    if kind == "permission" and inspection.preview.network is not None:
        title = f"{title} ({_NETWORKS[inspection.preview.network]})"
    if kind == "loop":
        title = f"The model makes the same call again with the same result: {title}"
    return ActionRequest(
        id=id,
        chat_id=chat_id,
        turn_id=turn_id,
        kind=kind,
        created_at=now,
        title=title,
        tool_call_id=call.tool_call_id,
        tool_name=call.tool_name,
        args=call.args,
        options=options,
        preview=inspection.preview,
        args_hash=args_hash,
        rules=rules,
        human=verdict is not None and verdict.human,
        expires_at=expires_at,
    )


def _one_line(title: str) -> str:
    """Return a title with codes for line ends and for what is invisible, or reorders text."""
    return "".join([sign if is_visible(sign) else f"<U+{ord(sign):04X}>" for sign in title])


def seconds_until(at: str, now: str) -> float:
    """Return the seconds between two RFC 3339 times, at least 0."""
    return max(0.0, (datetime.fromisoformat(at) - datetime.fromisoformat(now)).total_seconds())


def find_opened(brief: StepBrief) -> dict[int, ActionRequest]:
    """Return the questions of a step that are open already, by the position of their calls."""
    opened: dict[int, ActionRequest] = {}
    ids = [call.tool_call_id for call in brief.calls]
    for request in brief.requests:
        if request.tool_call_id in ids:
            opened[ids.index(request.tool_call_id)] = request
    return opened
