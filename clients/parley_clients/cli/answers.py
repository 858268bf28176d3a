"""What a person types as an answer to a question of a turn.

Nothing is allowed by accident: only `y` and `yes` allow, and what is no answer is refused with a hint.
"""

from dataclasses import dataclass
from typing import Any

from parley_clients.cli.errors import UsageError
from parley_clients.cli.steps import short_path, visible_line
from parley_clients.requests import ActionRequest, Decision
from parley_clients.results import Json

PLAN_MODES = ("ask", "edits", "auto")

_ELICITATION_YES = {False: "y when you have been there", True: "y agrees"}

_YES, _NO, _ALWAYS = ("y", "yes"), ("n", "no"), ("a", "always")


@dataclass(frozen=True)
class Given:
    """An answer, as `Chat.respond` takes it."""

    decision: Decision
    result: Any = None
    rule: str | None = None
    reason: str | None = None


def answer_hint(request: ActionRequest) -> str:
    """Return what can be typed."""
    if request.kind == "question":
        return "type an answer, or the number of an option · /deny"
    if request.kind == "elicitation":
        return f"{_ELICITATION_YES[request.form.get('answerSchema') is not None]} · n or /deny declines"
    words = [f"y {'goes on' if request.kind == 'loop' else 'allows'}"]
    if request.kind == "plan":
        words = [f"y approves (y {' | '.join(PLAN_MODES)}: the mode after it)"]
    words.append("n [REASON] denies")
    keys = [key for key, _ in rule_keys(request)]
    if keys:
        words.append(f"{' '.join(keys)} always")
    return " · ".join(words)


def rule_keys(request: ActionRequest) -> list[tuple[str, Json]]:
    """Return what is typed to store a rule, and the rule, for each that is offered."""
    if "allow_always" not in request.options:
        return []
    rules = request.rules
    return [(f"a{number}" if len(rules) > 1 else "a", rule) for number, rule in enumerate(rules, 1)]


def describe_rule(rule: Json, chat_id: str | None = None) -> str:
    """Return a rule as it is stored, and where it counts. `chat_id` is the chat that asks, if one does."""
    return f"{visible_line(rule['text'])} — {describe_scope(rule['scope'], chat_id)}"


def describe_scope(scope: "Json | str", chat_id: str | None = None) -> str:
    """Return where a rule counts. What a child chat asks becomes a rule of the chat that it works for."""
    if isinstance(scope, str):
        return "in all chats"
    if "chatId" in scope and chat_id not in (None, scope["chatId"]):
        return f"in the main chat {scope['chatId'][-8:]} and its agents"
    return "in this chat" if "chatId" in scope else f"in all chats below {short_path(scope['root'])}"


def read_answer(text: str, request: ActionRequest) -> Given:
    """Return the answer that a text is. The answers to several questions are read by `read_choice`.

    Raises:
        UsageError: it is none. The message says what can be typed.
    """
    word, _, rest = text.strip().partition(" ")
    rest, key = rest.strip(), word.lower().rstrip(".!:,")
    if key in _NO:
        return Given("deny", reason=rest or None)
    if key in _YES and not rest:
        return Given("allow")
    if key in _YES and request.kind == "plan" and rest in PLAN_MODES:
        return Given("allow", {"mode": rest})
    rules = rule_keys(request)
    wanted = {key, "a" if key == "always" and not rest else "", f"a{rest}" if key in _ALWAYS else ""}
    for typed, rule in rules:
        if typed in wanted:
            return Given("allow_always", rule=rule["id"])
    if key in _ALWAYS and not rules:
        raise UsageError("No rule is offered for this: y allows it once.")
    raise UsageError(f"This is no answer: {answer_hint(request)}.")


def read_choice(text: str, question: Json) -> str | list[str]:
    """Return the answer to one question: the options that numbers stand for, or the text.

    Raises:
        UsageError: there is no answer, or no such option.
    """
    options: list[str] = list(question.get("options") or ())
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError("Type an answer. /deny answers nothing.")
    if options and all(word.isdecimal() for word in words) and (len(words) == 1 or question.get("multi")):
        numbers = [int(word) for word in words]
        if any(not 1 <= number <= len(options) for number in numbers):
            raise UsageError(f"There are the options 1 to {len(options)}.")
        chosen = [options[number - 1] for number in numbers]
        return chosen if question.get("multi") else chosen[0]
    return [text.strip()] if question.get("multi") else text.strip()
