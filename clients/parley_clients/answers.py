"""The receipt of a sent message, the answer of a turn, and the errors of failed turns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from parley_clients.errors import ParleyError
from parley_clients.results import Json, Result
from parley_protocol.fold import plain_text

if TYPE_CHECKING:
    from typing import Self

    from parley_protocol.models.turns import ChatAskResult, ChatSendResult  # noqa: F401 - in base classes


def join_texts(before: str, after: str) -> str:
    """Return the texts of two messages of a turn, the second one below an empty line."""
    return f"{before}{gap_between(before)}{after}" if before and after else before + after


def gap_between(before: str) -> str:
    """Return what stands between the text of a message and that of the next one."""
    return "" if before.endswith("\n\n") else "\n" if before.endswith("\n") else "\n\n"


class SentMessage(Result["ChatSendResult"]):
    """The receipt of a message that was sent without waiting for its turn."""

    def __init__(self, raw: Any, client_message_id: str | None) -> None:
        super().__init__("chat/send", raw)
        self.client_message_id = client_message_id

    @property
    def disposition(self) -> str:
        """What the daemon does with the message: "started", "queued", "steered" or "interrupting"."""
        return self.raw["disposition"]

    @property
    def turn_id(self) -> str | None:
        """The id of the turn that answers the message."""
        return self.raw["turnId"]


class Answer(Result["ChatAskResult"]):
    """The result of a turn.

    A failed turn has an answer as well: check `outcome`, or call `raise_for_outcome`.
    """

    def __init__(self, raw: Any, client_message_id: str | None) -> None:
        super().__init__("chat/ask", raw)
        self.client_message_id = client_message_id

    @property
    def text(self) -> str:
        """The text of the answer: all text parts of the turn, with an empty line between two messages."""
        text = ""
        for parts in self._contents():
            text = join_texts(text, plain_text(parts))
        return text

    @property
    def reasoning(self) -> str:
        """The model's reasoning, as far as the provider shows it."""
        return "".join([p["text"] for parts in self._contents() for p in parts if p["type"] == "reasoning"])

    @property
    def sources(self) -> list[Json]:
        """The sources of the question, as JSON: files that it refers to, and what was found for it.

        A citation in the text, such as [S1], is the `sourceId` of one of them.
        """
        return self.raw.get("sources") or []

    @property
    def output(self) -> Any:
        """The validated JSON value if the turn had an `outputSchema` and completed, else None."""
        return self.raw.get("output")

    @property
    def outcome(self) -> str:
        """How the turn ended: "completed", "interrupted" or "failed"."""
        return self.raw["outcome"]

    @property
    def error(self) -> Json | None:
        """The TurnError of a failed turn, as JSON: `kind`, `message`, `retryable` and more."""
        return self.raw["error"]

    @property
    def turn_id(self) -> str:
        """The id of the turn."""
        return self.raw["turnId"]

    def raise_for_outcome(self) -> "Self":
        """Return the answer itself if its turn completed.

        Raises:
            TurnInterruptedError: the turn was interrupted; `answer.text` has the text so far.
            TurnFailedError: the turn failed.
        """
        if self.outcome == "completed":
            return self
        message = (self.error or {}).get("message")
        if self.outcome == "interrupted":
            raise TurnInterruptedError(message or "The turn was interrupted.", self)
        raise TurnFailedError(message or "The turn failed.", self)

    def _contents(self) -> list[Sequence[Json]]:
        return [m["content"] for m in self.raw["messages"] if m["role"] == "assistant"]


class TurnFailedError(ParleyError):
    """A turn failed; raised by `Answer.raise_for_outcome` only. `answer` is the answer so far."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


class TurnInterruptedError(TurnFailedError):
    """A turn was interrupted."""
