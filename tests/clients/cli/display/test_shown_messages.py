"""Which messages are printed after the branch of a chat changed, or a question was refused."""

from parley_clients.cli.display.shown_messages import ShownMessages
from parley_clients.events import Event


def reset_to(after: int | None) -> Event:
    """Return a change of the branch."""
    return Event({"type": "history_reset", "afterMessageId": after})


def question(id: int, *, refused: bool = False) -> Event:
    """Return a question."""
    return Event({"type": "message", "message": {"id": id, "refused": {} if refused else None}})


def test_messages_of_another_branch_are_shown_again() -> None:
    shown = ShownMessages()
    assert shown.take_question(1)
    assert shown.take_answer(2)
    assert shown.take_question(3)
    assert shown.changed_branch_at(reset_to(2)) is None
    assert shown.changed_branch_at(question(3)) == 2
    assert shown.take_question(3)
    assert not shown.take_answer(2)
    assert shown.changed_branch_at(question(5)) is None
    shown.changed_branch_at(reset_to(None))
    assert shown.changed_branch_at(Event({"type": "chat"})) == 0
    assert shown.take_question(1)


def test_the_mark_of_a_refused_question_is_no_other_branch() -> None:
    shown = ShownMessages()
    shown.take_question(1)
    shown.note_piece(2)
    shown.changed_branch_at(reset_to(None))
    assert shown.changed_branch_at(question(1, refused=True)) is None
    assert not shown.take_question(1)
    assert not shown.take_answer(2)
