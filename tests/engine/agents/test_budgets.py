"""What a turn and its children may cost together."""

import gc

from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.budgets import Budgets

ROOT = Chat("root", "local", "", "")
CHILD = Chat("child", "local", "", "", kind="agent", parent_chat_id="root")


def test_a_child_joins_the_budget_of_the_turn_above_it() -> None:
    budgets = Budgets()
    assert budgets.find_above(CHILD) is None
    budget = budgets.open(ROOT, 1.0)
    assert budgets.find_above(CHILD) is budget
    assert budgets.find_above(ROOT) is None
    assert budgets.find_above(Chat("thread", "local", "", "", parent_chat_id="root")) is None


def test_what_a_turn_has_cost_counts_once_however_often_it_is_noted() -> None:
    budget = Budgets().open(ROOT, 1.0)
    budget.note("t1", 0.25)
    budget.note("t1", 0.5)
    budget.note("t2", 0.25)
    budget.note("t2", None)
    assert budget.left == 0.25
    budget.note("t3", 7)
    assert budget.left == 0
    budget.limit = 10
    assert budget.left == 2.25


def test_a_budget_is_gone_with_the_last_turn_that_has_it() -> None:
    budgets = Budgets()
    budget = budgets.open(ROOT, 1.0)
    del budget
    gc.collect()
    assert budgets.find_above(CHILD) is None
