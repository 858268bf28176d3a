"""The error codes: unique, explained, in their bands."""

import re

from parley_protocol.errors import ErrorCode


def test_every_code_is_unique_and_says_what_it_means_in_one_line() -> None:
    codes = [int(code) for code in ErrorCode.__members__.values()]
    assert len(codes) == len(set(codes))
    for code in ErrorCode:
        assert re.fullmatch(r"[A-Z][^\n]*\.", code.meaning), code.name


def test_the_projects_own_codes_have_no_gap_and_the_others_are_lsps() -> None:
    own = sorted(int(code) for code in ErrorCode if code > 0)
    assert own == list(range(1001, 1018))
    lsps = {code.name: int(code) for code in ErrorCode if code < 0}
    assert lsps == {
        "PARSE_ERROR": -32700,
        "INVALID_REQUEST": -32600,
        "METHOD_NOT_FOUND": -32601,
        "INVALID_PARAMS": -32602,
        "INTERNAL_ERROR": -32603,
        "SERVER_NOT_INITIALIZED": -32002,
        "REQUEST_CANCELLED": -32800,
    }


def test_a_code_read_from_the_wire_is_the_named_one() -> None:
    assert ErrorCode(1005) is ErrorCode.QUEUE_FULL
    assert f"{int(ErrorCode.QUEUE_FULL)}" == "1005"
