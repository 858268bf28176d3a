"""What an agent turn does, and what it asks for, on a terminal. Requires rich."""

from collections.abc import Callable

from rich.console import RenderableType
from rich.text import Text

from parley_clients.cli.display.steps import Steps
from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import describe_answer, visible_line
from parley_clients.events import Event
from parley_clients.requests import ActionRequest
from parley_clients.results import Json

_WAITING, _ASKING = "waiting for the model", "waiting for an answer"


class AgentTurn:
    """Shows the steps and the questions of a turn.

    `print` prints a line, `print_request` a question; without it, somebody else prints the questions. Answers
    of other clients than `own_origin` are shown with the client's name.
    """

    def __init__(
        self,
        print: Callable[[RenderableType], None],
        print_request: Callable[[ActionRequest], None] | None,
        clock: Callable[[], float],
        own_origin: str | None,
    ) -> None:
        self._print = print
        self._print_request = print_request
        self._own_origin = own_origin
        self._steps = Steps(print, clock)
        self._asked: dict[str, ActionRequest] = {}
        self._asked_by_children: set[str] = set()

    def show(self, event: Event) -> str | None:
        """Show an event; return the phase that it begins, if any. Ignores events of other kinds."""
        match event.type:
            case "tool_started":
                self._steps.note_start(event.raw)
                return self._phase
            case "files_changed":
                self._steps.show_files(event.raw)
            case "action_required":
                self._note_request(ActionRequest(event.raw["request"]), event.raw.get("chatId"))
            case "action_resolved":
                self._show_resolved(event.raw)
                return self._phase
            case _:
                pass
        return None

    def show_part(self, part: Json) -> str:
        """Show a call, a result, or a piece of them; return the phase that it begins."""
        if part["type"] == "tool-call":
            if "argsDelta" not in part:
                self._steps.note_call(part)
            return f"calling {one_line(part['toolName'])}"
        if "resultDelta" in part:
            self._steps.note_output(part)
        else:
            self._steps.show_result(part)
        return self._phase

    def end(self) -> None:
        """Forget what was running: the turn has ended. Children in the background go on."""
        self._steps.forget()
        self._asked = {id: one for id, one in self._asked.items() if id in self._asked_by_children}

    def forget(self) -> None:
        """Forget all: events were missed."""
        self._steps.forget()
        self._asked.clear()
        self._asked_by_children.clear()

    def render_running(self, now: float) -> list[RenderableType]:
        """Return what runs now, each with the end of its output."""
        return self._steps.render_running(now)

    @property
    def _phase(self) -> str:
        is_asking = not self._asked.keys() <= self._asked_by_children
        return _ASKING if is_asking else self._steps.running or _WAITING

    def _note_request(self, request: ActionRequest, chat_id: str | None) -> None:
        if request.kind == "tool":
            return  # a client answers it
        self._asked[request.id] = request
        if chat_id is not None and request.chat_id not in (None, chat_id):  # a snapshot does not say it
            self._asked_by_children.add(request.id)
        if self._print_request is not None:
            self._print_request(request)

    def _show_resolved(self, event: Json) -> None:
        request = self._asked.pop(event["requestId"], None)
        self._asked_by_children.discard(event["requestId"])
        if request is not None:
            answer = describe_answer(event, request.kind, self._own_origin)
            self._print(Text(f"{visible_line(request.title)}: {answer}", "dim"))
