"""Answers what a turn asks for, at the prompt of `parley chat`.

Theory of operation. While a question is open, the prompt belongs to it: what it is about is printed above,
the lines at the prompt say what can be typed, and what was being typed before is put aside until it is
answered. The answer is bound to the request and to the arguments that were shown. If another client answers
first, the question disappears, what was typed for it is dropped, and for a moment Enter does nothing: it was
meant for the answer, and would send the text that is back in the prompt.
"""

import time
from functools import partial

from anyio.abc import TaskGroup

from parley_clients.cli.answers import Given
from parley_clients.cli.conversation.agents.asking import Asking
from parley_clients.cli.conversation.outcomes import Context
from parley_clients.cli.conversation.prompt import Prompt
from parley_clients.cli.conversation.view import View
from parley_clients.cli.errors import CommandError, describe_parley_error
from parley_clients.cli.options import short_id
from parley_clients.errors import ConflictError, ParleyError
from parley_clients.requests import ActionRequest

_IGNORE_ENTER_SECONDS = 0.7
_EXPLAIN_SECONDS = 2.0


class Answering:
    """The questions of the chat that is shown, and the answers that are typed."""

    def __init__(self, context: Context, prompt: Prompt, view: View, tasks: TaskGroup) -> None:
        self._context = context
        self._prompt = prompt
        self._view = view
        self._tasks = tasks
        self._asking = Asking()
        self._draft: str | None = None
        self._enter_counts_from = 0.0

    @property
    def lines(self) -> list[str]:
        """What is shown above the typed answer."""
        return self._asking.lines()

    @property
    def ignores_enter(self) -> bool:
        """Whether Enter was meant for a question that has just disappeared."""
        return time.monotonic() < self._enter_counts_from

    def update(self) -> None:
        """Take the open questions of the chat that is shown."""
        had_question = self._asking.active is not None
        if self._asking.update(self._view.requests):
            self._show_active(had_question)

    def submit(self, text: str, command: str | None) -> bool:
        """Take a typed text; return whether it belongs to a question.

        Raises:
            UsageError: it is no answer.
            CommandError: the question was answered meanwhile.
        """
        active = self._asking.active
        if active is None or command not in (None, "/deny", "/skip"):
            return False
        if command == "/skip":
            self._asking.skip()
            given = None
        elif command == "/deny":
            given = Given("deny", reason=text.partition(" ")[2].strip() or None)
        else:
            given = self._asking.take(text)
        self._prompt.buffer.reset()
        if given is not None:
            self._asking.note_answered(active.id)
            self._tasks.start_soon(self._respond, active, given)
        self._changed()
        return True

    def _changed(self) -> None:
        if self._asking.update(self._view.requests):
            self._show_active(had_question=True, was_answered=True)
        self._prompt.shown.waiting = self.lines
        self._prompt.refresh()

    def _show_active(self, had_question: bool, *, was_answered: bool = False) -> None:
        """Give the prompt to the active question, or back to the text that was being typed before."""
        active, buffer = self._asking.active, self._prompt.buffer
        if not had_question:
            self._draft = buffer.text
        buffer.reset()
        self._prompt.shown.mark = "? " if active is not None else "> "
        if active is not None:
            self._tasks.start_soon(self._print, active)
        else:
            self._draft, draft = None, self._draft or ""
            buffer.text, buffer.cursor_position = draft, len(draft)
            if draft and not was_answered:
                self._enter_counts_from = time.monotonic() + _IGNORE_ENTER_SECONDS

    async def _print(self, request: ActionRequest) -> None:
        why = await self._find_out_why(request)
        if request.chat_id not in (None, self._context.chat.id):
            why = f"The agent {short_id(request.chat_id)} asks. {why}".strip()
        if self._asking.active is request:
            self._view.print_request(request, why)

    async def _find_out_why(self, request: ActionRequest) -> str:
        if request.kind != "permission" or "permission/explain" not in self._context.client.features:
            return ""
        chat_id = request.chat_id or self._context.chat.id
        params = {"chatId": chat_id, "toolName": request.tool_name, "args": request.args}
        explain = partial(self._context.client.wrapped.call, "permission/explain", params)
        try:
            return str((await explain(timeout=_EXPLAIN_SECONDS)).raw["why"])
        except (ParleyError, TimeoutError):
            return ""

    async def _respond(self, request: ActionRequest, given: Given) -> None:
        chat = self._context.client.wrapped.chat(request.chat_id or self._context.chat.id)
        try:
            await chat.respond(
                request, given.decision, result=given.result, rule=given.rule, reason=given.reason
            )
        except ConflictError as error:
            self._view.note(error.message)
        except (ParleyError, TimeoutError, CommandError) as error:
            message = describe_parley_error(error) if isinstance(error, ParleyError) else str(error)
            self._view.note(message)
            self._asking.note_failed(request.id)
            self._changed()
