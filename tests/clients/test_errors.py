"""The exceptions of the Python client: one class for each error code that a client can meet."""

import pytest

import parley_clients
from parley_clients.errors import ParleyError, error_from_wire
from parley_protocol.errors import ErrorCode

OWN = [code for code in ErrorCode if code > 0]


@pytest.mark.parametrize("code", OWN, ids=lambda code: code.name)
def test_a_code_of_the_protocol_has_an_exception_of_its_own(code: ErrorCode) -> None:
    error = error_from_wire({"code": int(code), "message": "It failed."})
    assert type(error) is not ParleyError, "add a class to parley_clients/errors.py"
    assert type(error).__name__ in parley_clients.__all__, "export it from parley_clients"
    assert (error.code, error.message) == (code, "It failed.")


def test_no_two_codes_share_an_exception() -> None:
    kinds = [type(error_from_wire({"code": int(code)})) for code in OWN]
    assert len(kinds) == len(set(kinds))
