"""Which messages a terminal shows already, so that none is printed twice.

Theory of operation. After a `history_reset` the messages of another branch follow, and are printed below a
note. One case looks the same and is none: if the provider refuses a question, its message is sent again with
the mark `refused`, after a `history_reset` to the message before it. So the next event decides what a
`history_reset` means.
"""

from parley_clients.events import Event
from parley_clients.results import Json


class ShownMessages:
    """The questions that were printed, and the answers that were streamed."""

    def __init__(self) -> None:
        self._questions: set[int] = set()
        self._streamed: set[int] = set()
        self._reset_to: int | None = None

    def note_piece(self, message_id: int) -> None:
        """Note that a piece of this message is shown."""
        self._streamed.add(message_id)

    def forget_answers(self) -> None:
        """Let the answers that follow be shown as a whole."""
        self._streamed.clear()

    def take_question(self, message_id: int) -> bool:
        """Return whether this question is not shown yet; from now on it is."""
        is_new = message_id not in self._questions
        self._questions.add(message_id)
        return is_new

    def take_answer(self, message_id: int) -> bool:
        """Return whether nothing of this answer is shown yet; from now on it is."""
        is_new = message_id not in self._streamed
        self._streamed.add(message_id)
        return is_new

    def changed_branch_at(self, event: Event) -> int | None:
        """Return the message after which another branch begins with this event (0: the chat's beginning)."""
        if event.type == "history_reset":
            self._reset_to = event.raw["afterMessageId"] or 0
            return None
        after, self._reset_to = self._reset_to, None
        if after is None or self._is_mark(event):
            return None
        self._questions = {id for id in self._questions if id <= after}
        self._streamed = {id for id in self._streamed if id <= after}
        return after

    def _is_mark(self, event: Event) -> bool:
        """Return whether the event marks a question on the screen as refused."""
        if event.type != "message":
            return False
        message: Json = event.raw["message"]
        return message.get("refused") is not None and message["id"] in self._questions
