"""The questions of a turn: what a person or a client is asked for before the turn continues."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from parley_clients.results import Json

if TYPE_CHECKING:
    from parley_protocol.models import objects

Decision = Literal["allow", "allow_always", "deny"]
"""How a request is answered."""


ToolKind = Literal["read", "edit", "execute", "fetch", "agent", "ask"]
"""What a tool does at most."""


class ActionRequest:
    """A question of a turn, from an `action_required` event or a snapshot. `raw` is the JSON as received.

    `Chat.respond` answers it. It stays open until somebody does.
    """

    def __init__(self, raw: Json) -> None:
        self.raw = raw

    @property
    def id(self) -> str:
        """The id of the request."""
        return self.raw["id"]

    @property
    def chat_id(self) -> str | None:
        """The id of the chat where it arose."""
        return self.raw.get("chatId")

    @property
    def kind(self) -> str:
        """What is asked for: "permission", "question", "plan", "tool", "elicitation", "loop" and others."""
        return self.raw["kind"]

    @property
    def title(self) -> str:
        """One line for people, such as "Edit src/main.py"."""
        return self.raw.get("title") or self.raw.get("toolName") or self.kind

    @property
    def tool_name(self) -> str | None:
        """The name of the tool in question, if it is about one."""
        return self.raw.get("toolName")

    @property
    def args(self) -> Any:
        """The arguments of the call, as JSON."""
        return self.raw.get("args")

    @property
    def options(self) -> list[str]:
        """The decisions that are possible, such as "allow" and "deny"."""
        return self.raw["options"]

    @property
    def preview(self) -> Json:
        """What people are shown: those of `command`, `cwd`, `paths`, `diff`, `url`, `plan`, `questions` and
        `form` that apply.
        """
        preview: Json = self.raw.get("preview") or {}
        return {name: value for name, value in preview.items() if value is not None}

    @property
    def questions(self) -> list[Json]:
        """The questions of a request of kind "question": `text`, and `options` and `multi` as they apply."""
        return self.preview.get("questions") or []

    @property
    def form(self) -> Json:
        """What an MCP server asks, in a request of kind "elicitation": `server`, `message`, `answerSchema`.

        If it has a schema, the `result` of "allow" is `{"answers": {…}}`; else the person visits the `url`.
        """
        return self.preview.get("form") or {}

    @property
    def rules(self) -> list[Json]:
        """The rules that "allow_always" can store: `id`, `text` and `scope` of each."""
        return self.raw.get("rules") or []

    @property
    def human(self) -> bool:
        """Whether only a person may allow it."""
        return bool(self.raw.get("human"))

    @cached_property
    def model(self) -> "objects.ActionRequest":
        """The request as a typed model."""
        from parley_protocol.models.objects import ActionRequest as Model

        return Model.model_validate(self.raw)

    def __repr__(self) -> str:
        return f"<ActionRequest {self.kind} {self.title!r}>"


def response_params(
    request: "ActionRequest | Mapping[str, Any] | str",
    decision: Decision,
    result: Any,
    rule: "str | Mapping[str, Any] | None",
    reason: str | None,
) -> Json:
    """Return the params of `chat/respond`, without the chat.

    Raises:
        ValueError: "allow_always" needs a rule, and none or several are offered; or a rule or a reason came
            with a decision that has none.
    """
    raw = request.raw if isinstance(request, ActionRequest) else request
    params: Json = {"requestId": raw if isinstance(raw, str) else raw["id"], "decision": decision}
    if not isinstance(raw, str) and raw.get("argsHash"):
        params["argsHash"] = raw["argsHash"]  # the answer is to what was shown, and to nothing else
    if decision == "allow_always":
        result = {"ruleId": _rule_id(raw, rule)}
    elif rule is not None:
        raise ValueError('A rule is stored by the decision "allow_always" only.')
    if reason is not None:
        if decision != "deny":
            raise ValueError('A reason is given with the decision "deny" only.')
        result = {"reason": reason}
    if result is not None:
        params["result"] = result
    return params


def answers_result(
    request: "ActionRequest | Mapping[str, Any] | str", decision: Decision, answers: Any, result: Any
) -> Json:
    """Return the `result` of `chat/respond` that has answers to a form or to questions.

    Raises:
        ValueError: they came with another decision or a result; or a field is missing, or the form has none
            of this name.
    """
    if decision != "allow" or result is not None:
        raise ValueError('Answers are given with the decision "allow" only, and without a result.')
    raw = None if isinstance(request, str) else request.raw if isinstance(request, ActionRequest) else request
    schema = None if raw is None else ActionRequest({**raw}).form.get("answerSchema")
    if schema is not None:
        if not isinstance(answers, Mapping):
            raise ValueError("The answers to a form are a mapping of the names of its fields to values.")
        given = cast("Mapping[str, Any]", answers)
        missing = [name for name in schema.get("required") or () if name not in given]
        if missing:
            raise ValueError(f"The form needs {', '.join(missing)}, too.")
        unknown = [name for name in given if name not in schema["properties"]]
        if unknown:
            raise ValueError(f"The form has no {unknown[0]!r}. It has {', '.join(schema['properties'])}.")
    is_form = isinstance(answers, Mapping)
    return {"answers": {**cast("Mapping[str, Any]", answers)} if is_form else [*answers]}


def _rule_id(raw: "Mapping[str, Any] | str", rule: "str | Mapping[str, Any] | None") -> str:
    if rule is not None:
        return rule if isinstance(rule, str) else rule["id"]
    offered = cast("list[Json]", [] if isinstance(raw, str) else raw.get("rules") or [])
    if len(offered) == 1:
        return offered[0]["id"]
    ids = ", ".join([repr(one["id"]) for one in offered])
    raise ValueError(f'"allow_always" needs the rule to store: {ids or "none is offered"}.')
