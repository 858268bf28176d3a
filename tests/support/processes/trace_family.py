"""The rule of child chats in a trace (14 of the protocol): over the events of one chat, and over all streams.

What a parent says of its children is checked against its own `child` events. Where the connection has also
subscribed to a child, the child's events are checked against what the parent reports of it.
"""

import json
from math import isclose
from typing import Any, cast

Json = dict[str, Any]

ENDED = ("completed", "failed", "interrupted")
_SUMMED = (
    *("inputTokens", "outputTokens", "totalTokens", "reasoningTokens"),
    *("cacheCreationTokens", "cacheReadTokens", "costUsd"),
)


class TraceError(AssertionError):
    """The connection broke a rule."""


class FamilyRules:
    """The rules over one stream of events.

    Attributes:
        reported: the ids of the child chats that the newest event has reported as ended.
    """

    def __init__(self) -> None:
        self.reported: list[str] = []
        self._children: dict[str, Json] | None = None  # None: the stream does not say which there are

    def snapshot(self, snapshot: Json) -> None:
        """Take what a stream begins with, or goes on from."""
        self._children = {child["childChatId"]: child for child in snapshot.get("children", ())}
        self._check_sums(snapshot["chat"])

    def event(self, value: Json) -> None:
        """Take the next event of the chat.

        Raises:
            TraceError: it breaks a rule.
        """
        self.reported = []
        match value["type"]:
            case "child" if self._children is not None:
                id = value["childChatId"]
                if value.get("deleted"):
                    self._children.pop(id, None)
                else:
                    self._children[id] = value
            case "chat":
                self._check_sums(value.get("chat") or {})
            case "message_part" if "result" in value["part"]:
                self._take_result(value["part"])
            case _:
                pass

    def _check_sums(self, chat: Json) -> None:
        if self._children is None or "usageTree" not in chat:
            return
        for name in _SUMMED:
            known = [chat["usage"][name], *[one["usage"][name] for one in self._children.values()]]
            wanted, told = sum([one for one in known if one is not None]), chat["usageTree"][name] or 0
            if not isclose(wanted, told, abs_tol=1e-9):
                raise TraceError(f"rule 14: usageTree has {told} {name}; own and children have {wanted}")

    def _take_result(self, part: Json) -> None:
        if (
            part.get("toolName") not in ("spawn_agent", "wait_agents", "stop_agent")
            or part["outcome"] != "ok"
        ):
            return
        for report in _reports(part["result"]):
            if report.get("status") not in ENDED:
                continue
            id = report["id"]
            self.reported.append(id)
            child = None if self._children is None else self._children.get(id)
            if child is not None and child["status"] not in ENDED:
                raise TraceError(f"rule 14: child {id} is {child['status']}, and a result says that it ended")


def _reports(result: Any) -> list[Json]:
    if isinstance(result, str):
        try:
            result = json.loads(result)
        except ValueError:
            return []
    entries: list[Any] = cast("list[Any]", result) if isinstance(result, list) else [result]
    return [cast("Json", one) for one in entries if isinstance(one, dict) and "id" in one]
