"""How `parley queue` finds the message that a word names: by its position, or by a part of its id."""

import pytest

from parley_clients.cli.commands.queue import find_queued_message
from parley_clients.cli.errors import CommandError

QUEUE = [
    {"id": "0192f0c1-0000-7000-8000-00000000aaa7"},
    {"id": "0192f0c1-0000-7000-8000-000000001237"},
    {"id": "0192f0c1-0000-7000-8000-0000deadbeef"},
]


@pytest.mark.parametrize(("word", "index"), [("1", 0), ("3", 2), ("002", 1), ("1237", 1), ("BEEF", 2)])
def test_a_number_is_a_position_and_a_longer_word_is_the_end_of_an_id(word: str, index: int) -> None:
    assert find_queued_message(QUEUE, word) == QUEUE[index]["id"]


@pytest.mark.parametrize("word", ["0", "4", "7", "237"])
def test_a_position_that_does_not_exist_is_refused_with_the_valid_range(word: str) -> None:
    with pytest.raises(CommandError) as refused:
        find_queued_message(QUEUE, word)
    assert str(refused.value) == f"The queue has no message {word}: its positions are 1 to 3."


def test_an_empty_queue_has_no_positions() -> None:
    with pytest.raises(CommandError) as refused:
        find_queued_message([], "1")
    assert str(refused.value) == "The queue of this chat is empty."


@pytest.mark.parametrize("word", ["", "-1", "f", "eef", "0000"])
def test_a_word_that_names_no_single_message_is_refused(word: str) -> None:
    with pytest.raises(CommandError):
        find_queued_message(QUEUE, word)


def test_the_beginning_of_an_id_is_accepted() -> None:
    assert find_queued_message([*QUEUE, {"id": "abcd0000-0000"}], "ABCD") == "abcd0000-0000"


@pytest.mark.parametrize("word", ["0192", "0192f0c1-0000"])
def test_an_ambiguous_word_is_refused_with_the_candidates(word: str) -> None:
    with pytest.raises(CommandError) as refused:
        find_queued_message(QUEUE, word)
    assert str(refused.value) == (
        f"{word} matches 3 queued messages: 0000aaa7, 00001237, deadbeef. Give more characters of the id."
    )


def test_the_full_id_is_accepted() -> None:
    assert find_queued_message(QUEUE, QUEUE[0]["id"]) == QUEUE[0]["id"]
