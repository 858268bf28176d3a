"""What is built of a history once is what would be built anew for each request."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.core.parts import Text
from parley_daemon.core.prompts import prompt_entries
from parley_daemon.core.records import Message
from parley_daemon.engine.turns.prompt_cache import PromptCache
from tests.support.engine.records import a_message
from tests.support.engine.strategies import histories
from tests.support.examples import examples

STEPS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a:b", "c:d"])), min_size=1, max_size=8)


@given(history=histories(30), steps=STEPS, replaced=st.integers(0, 29))
@settings(max_examples=examples(50))
async def test_a_chat_that_grows_is_cut_back_and_changes_its_model_gets_the_same_messages(
    history: list[Message], steps: list[tuple[int, str]], replaced: int
) -> None:
    """In the middle of the steps, another branch takes the place of the rest."""
    cache = PromptCache()
    for at, (end, model) in enumerate(steps):
        branch = [*history[:replaced], a_message(99, "Else."), *history] if at > len(steps) // 2 else history
        sent = tuple(branch[:end])
        await cache.prepare(sent, model)
        built = [(one.role, one.parts) for one in cache.messages(sent, model)]
        assert built == list(prompt_entries(sent, model))


async def test_the_messages_of_an_earlier_request_are_the_same_objects() -> None:
    cache = PromptCache()
    chat = [a_message(n, f"Text {n}", role=("user", "assistant")[n % 2]) for n in range(5_001)]
    await cache.prepare(chat, "a:b")
    first = cache.messages(tuple(chat), "a:b")
    second = cache.messages((*chat, a_message(9_999, "More", role="assistant")), "a:b")
    assert all(one is other for one, other in zip(first[:4_999], second, strict=False))
    assert cache.messages(tuple(chat), "c:d")[0] is not first[0]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_answer_does_not_end_what_came_before(blank: str) -> None:
    cache = PromptCache()
    history = (a_message(1, "Hi"), a_message(2, role="assistant", content=(Text(blank),)))
    assert [one.role for one in cache.messages(history, "a:b")] == ["user"]
