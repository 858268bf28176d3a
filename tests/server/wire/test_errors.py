"""Where exceptions become wire errors: every typed one has a code, a foreign one says nothing."""

import inspect

import pytest

from parley_daemon.engine import errors as engine_errors
from parley_daemon.ports.catalogue import ProviderUnavailableError, UnknownModelError
from parley_daemon.ports.store import (
    ChatTooLargeError,
    InvalidCursorError,
    SearchUnavailableError,
    StoreTooNewError,
    StoreUnavailableError,
)
from parley_daemon.server.wire.errors import WireError, wire_error
from parley_protocol.errors import ErrorCode

TYPED = [
    kind
    for _, kind in inspect.getmembers(engine_errors, inspect.isclass)
    if issubclass(kind, engine_errors.EngineError) and kind is not engine_errors.EngineError
]


@pytest.mark.parametrize("kind", TYPED)
def test_every_error_of_the_engine_has_a_code_and_keeps_its_sentence(kind: type[Exception]) -> None:
    extra = (
        len(inspect.signature(kind.__init__).parameters) - 2 if kind.__init__ is not Exception.__init__ else 0
    )
    error = kind("What happened.", "most") if extra == 1 else kind("What happened.")
    told = wire_error(error)
    assert told.code is not ErrorCode.INTERNAL_ERROR
    assert told.message.endswith("What happened.")


@pytest.mark.parametrize(
    ("error", "code", "data"),
    [
        (UnknownModelError("No."), ErrorCode.MODEL_NOT_FOUND, None),
        (
            ProviderUnavailableError("No key.", "missing_api_key"),
            ErrorCode.PROVIDER_UNAVAILABLE,
            {"reason": "missing_api_key"},
        ),
        (StoreUnavailableError("Full."), ErrorCode.STORE_UNAVAILABLE, None),
        (StoreTooNewError("New."), ErrorCode.STORE_UNAVAILABLE, None),
        (SearchUnavailableError("No FTS5."), ErrorCode.STORE_UNAVAILABLE, None),
        (ChatTooLargeError(5), ErrorCode.LIMIT_EXCEEDED, {"limit": 5}),
        (engine_errors.QueueFullError("Full.", 20), ErrorCode.QUEUE_FULL, {"limit": 20}),
    ],
)
def test_errors_of_the_ports_have_codes_and_data(error: Exception, code: ErrorCode, data: object) -> None:
    told = wire_error(error)
    assert (told.code, told.data) == (code, data)


def test_a_bad_cursor_names_its_field() -> None:
    told = wire_error(InvalidCursorError("x"))
    assert told.code is ErrorCode.INVALID_PARAMS
    assert told.data is not None
    assert told.data["fields"][0]["path"] == "cursor"


def test_a_foreign_exception_says_nothing_of_itself() -> None:
    told = wire_error(RuntimeError("secret at /some/path"))
    assert told.code is ErrorCode.INTERNAL_ERROR
    assert "secret" not in str(told.to_json())
    assert "Traceback" not in str(told.to_json())


def test_a_wire_error_stays_what_it_is() -> None:
    error = WireError(ErrorCode.NOT_ALLOWED, "No.", {"a": 1})
    assert wire_error(error) is error
    assert error.to_json() == {"code": 1009, "message": "No.", "data": {"a": 1}}
