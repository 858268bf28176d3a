"""Which of the configured models is the default: rules, in all cases."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from parley_daemon.core.provider_records import ModelRecord, choose_default, update_default
from tests.support.engine.records import a_model

PROVIDERS = ("x", "y")

models = st.lists(
    st.builds(
        a_model,
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["x", "y", "gone"]),
        enabled=st.booleans(),
        is_default=st.booleans(),
    ),
    unique_by=lambda one: one.id,
)


def after(records: list[ModelRecord], changed: list[ModelRecord]) -> list[ModelRecord]:
    by_id = {one.id: one for one in changed}
    return [by_id.get(one.id, one) for one in records]


def defaults(records: list[ModelRecord]) -> list[str]:
    return [one.id for one in records if one.is_default]


def test_the_first_one_by_provider_and_model_is_elected() -> None:
    assert choose_default(()) is None
    assert choose_default((a_model("a", "y"), a_model("b", "x"), a_model("a", "x"))) == a_model("a", "x")


@given(models, st.none() | st.sampled_from(["x:a", "y:b", "gone:a"]), st.booleans())
def test_there_is_one_default_among_those_in_use_and_none_elsewhere(
    records: list[ModelRecord], preferred: str | None, may_choose: bool
) -> None:
    changed = update_default(records, PROVIDERS, preferred=preferred, may_choose=may_choose)
    assert [one for one in changed if one in records] == []
    settled_records = after(records, changed)
    in_use = {one.id for one in records if one.enabled and one.provider in PROVIDERS}
    found = defaults(settled_records)
    assert len(found) == (1 if in_use and (may_choose or found) else 0)
    assert set(found) <= in_use
    if preferred in in_use:
        assert found == [preferred]
    assert update_default(settled_records, PROVIDERS, may_choose=may_choose) == []


@given(models)
def test_the_default_that_there_is_stays_it(records: list[ModelRecord]) -> None:
    first = after(records, update_default(records, PROVIDERS))
    more = [*first, a_model("0", "x")]
    assert defaults(after(more, update_default(more, PROVIDERS))) == (defaults(first) or ["x:0"])


@given(models)
def test_the_one_that_shall_not_be_it_is_it_only_when_there_is_no_other(records: list[ModelRecord]) -> None:
    first = after(records, update_default(records, PROVIDERS))
    for avoided in defaults(first):
        second = defaults(after(first, update_default(first, PROVIDERS, avoided=avoided)))
        others = [one.id for one in first if one.enabled and one.provider in PROVIDERS and one.id != avoided]
        assert (second == [avoided]) is (not others)


def test_nobody_is_elected_where_that_is_not_wished() -> None:
    records = [a_model("a", "x"), a_model("b", "x")]
    assert update_default(records, PROVIDERS, may_choose=False) == []
    chosen = [replace(records[0], is_default=True), records[1]]
    assert defaults(after(chosen, update_default(chosen, PROVIDERS, avoided="x:a", may_choose=False))) == []
