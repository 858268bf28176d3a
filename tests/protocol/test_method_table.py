"""The method table: names, params, results and documentation follow one pattern."""

import re
from typing import get_args, get_origin

from parley_protocol.methods import METHODS, Direction, Kind
from parley_protocol.models.base import Params, Wire
from parley_protocol.models.parts import PartDelta

ROWS = list(METHODS.values())
CUSTOM = [row for row in ROWS if not row.is_lsp]


def _params_name(method: str) -> str:
    return "".join([word[0].upper() + word[1:] for word in method.split("/")]) + "Params"


def test_a_row_stands_under_its_own_name_and_says_what_it_does_in_one_line() -> None:
    for row in ROWS:
        assert METHODS[row.name] is row
        assert re.fullmatch(r"[A-Z][^\n]*\.", row.doc), row.name


def test_the_names_of_a_method_and_its_params_follow_the_pattern() -> None:
    for row in CUSTOM:
        assert re.fullmatch(r"[a-z][A-Za-z]*(/[a-z][A-Za-z]*){1,2}", row.name), row.name
        assert row.params is not None, row.name
        assert row.params.__name__ == _params_name(row.name)


def test_methods_that_are_not_lsps_are_requests_with_params_that_refuse_unknown_fields() -> None:
    lsps = {row.name for row in ROWS if row.is_lsp}
    assert lsps == {
        "initialize",
        "initialized",
        "shutdown",
        "exit",
        "$/cancelRequest",
        "$/progress",
        "window/workDoneProgress/cancel",
    }
    for row in CUSTOM:
        assert row.kind is Kind.REQUEST
        assert row.direction is Direction.CLIENT_TO_SERVER
        assert row.params is not None
        assert issubclass(row.params, Params)
        assert row.params.model_config.get("extra") == "forbid"


def test_a_result_is_an_object_of_the_wire_a_list_of_them_or_nothing() -> None:
    for row in ROWS:
        result = get_args(row.result)[0] if get_origin(row.result) is list else row.result
        if row.kind is Kind.NOTIFICATION:
            assert row.result is None, row.name
        elif result is not None and result is not PartDelta:  # any part of a message
            assert issubclass(result, Wire), row.name
            assert not issubclass(result, Params), row.name
            assert not result.__name__.endswith("Result") or row.params is not None, row.name


def test_no_two_methods_share_their_params() -> None:
    params = [row.params for row in ROWS if row.params is not None]
    assert len(params) == len(set(params))


def test_every_model_for_params_belongs_to_a_method() -> None:
    used = {row.params for row in ROWS}
    unused = [model.__name__ for model in _subclasses(Params) if model not in used]
    assert unused == []


def _subclasses(model: type[Wire]) -> set[type[Wire]]:
    direct = set(model.__subclasses__())
    return direct.union(*[_subclasses(each) for each in direct])
