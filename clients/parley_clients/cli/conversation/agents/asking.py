"""The question of a turn that the prompt is about: which one it is, and what was answered to it so far.

Theory of operation. A chat may have several open questions, from several calls. One of them is active: what
is typed answers it. The others follow in the order in which they arose; `skip` puts the active one behind
them. A question that somebody else has answered disappears. What is typed belongs to the question for which
it was typed: when another one becomes active, the caller empties the prompt.
"""

from collections.abc import Sequence
from typing import Any

from parley_clients.cli.answers import Given, answer_hint, read_answer, read_choice
from parley_clients.cli.forms import OMITTED, FormField, form_fields, read_field
from parley_clients.cli.steps import visible_line
from parley_clients.requests import ActionRequest
from parley_clients.results import Json


class Asking:
    """The open questions of a chat, and the active one."""

    def __init__(self) -> None:
        self.active: ActionRequest | None = None
        self._open: list[ActionRequest] = []
        self._skipped: list[str] = []
        self._answered: set[str] = set()
        self._choices: list[str | list[str]] = []
        self._fields: list[FormField] = []
        self._values: list[Any] = []

    def update(self, requests: Sequence[Json]) -> bool:
        """Take the open questions of the chat; return whether another one is active now, or none."""
        ids = {raw["id"] for raw in requests}
        self._answered &= ids
        self._skipped = [id for id in self._skipped if id in ids]
        found = [ActionRequest(raw) for raw in requests if raw["kind"] != "tool"]
        found = [request for request in found if request.id not in self._answered]
        self._open = sorted(found, key=self._order)
        active = self._open[0] if self._open else None
        before, after = (None if one is None else one.id for one in (self.active, active))
        if before == after:
            return False
        self.active, self._choices, self._values = active, [], []
        self._fields = (None if active is None else form_fields(active)) or []
        return True

    def _order(self, request: ActionRequest) -> int:
        return self._skipped.index(request.id) + 1 if request.id in self._skipped else 0

    def skip(self) -> None:
        """Put the active question behind the others; `update` follows."""
        if self.active is not None:
            self._skipped = [id for id in self._skipped if id != self.active.id] + [self.active.id]

    def take(self, text: str) -> Given | None:
        """Return the answer that a text completes; None if the next of several questions follows.

        Raises:
            UsageError: the text is no answer.
        """
        assert self.active is not None
        if self.active.kind == "elicitation":
            return self._take_field(text)
        questions = self.active.questions
        if self.active.kind != "question" or not questions:
            return read_answer(text, self.active)
        self._choices.append(read_choice(text, questions[len(self._choices)]))
        return Given("allow", {"answers": self._choices}) if len(self._choices) == len(questions) else None

    def _take_field(self, text: str) -> Given | None:
        assert self.active is not None
        if not self._fields:
            given = read_answer(text, self.active)
            is_form = given.decision == "allow" and form_fields(self.active) is not None
            return Given("allow", {"answers": {}}) if is_form else given
        self._values.append(read_field(text, self._fields[len(self._values)]))
        if len(self._values) < len(self._fields):
            return None
        named = zip(self._fields, self._values, strict=True)
        return Given("allow", {"answers": {one.name: value for one, value in named if value is not OMITTED}})

    def note_answered(self, id: str) -> None:
        """Note that an answer is on its way, so that the next question can be active."""
        self._answered.add(id)

    def note_failed(self, id: str) -> None:
        """Note that an answer did not arrive: the question is asked again, from its beginning."""
        self._answered.discard(id)

    def lines(self) -> list[str]:
        """Return what is shown above the typed answer."""
        if self.active is None:
            return []
        lines = [answer_hint(self.active)]
        if self._fields:
            field = self._fields[len(self._values)]
            number = f"{len(self._values) + 1} of {len(self._fields)}"
            lines = [f"{number} · {visible_line(field.label)}: {field.hint} · /deny declines"]
        questions = self.active.questions
        if len(questions) > 1:
            lines[0] = f"question {len(self._choices) + 1} of {len(questions)} · {lines[0]}"
        more = len(self._open) - 1
        if more:
            lines.append(f"{more} more question{'s' if more > 1 else ''} · /skip goes to the next one")
        return lines
