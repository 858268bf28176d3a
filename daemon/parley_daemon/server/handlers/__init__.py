"""The handlers, one module for each group of methods, and the lookup of the one that answers a method.

A handler is a function `async def name(call, params) -> result`. It reads the params, asks the engine and
returns JSON values. The row of its method in `parley_protocol.methods` names it; its module and the model of
its params are imported when the method is first called.

Every public function of these modules is the handler of exactly one method. A test checks that.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from parley_daemon.server.call import Call
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_daemon.server.wire.jsonrpc import as_object
from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS
from parley_protocol.models.base import Params, field_problems


class Handler(msgspec.Struct, frozen=True):
    """Answers one method. `run` returns the result, or raises an exception that `wire_error` translates."""

    run: Callable[[Call], Awaitable[Any]]
    has_large_answer: bool


@cache
def find_handler(method: str) -> Handler:
    """Return the handler of a method, importing its module at the first call.

    Raises:
        WireError: -32601, the method is unknown.
    """
    row = METHODS.get(method)
    if row is None or row.handler is None:
        raise WireError(ErrorCode.METHOD_NOT_FOUND, f"{method} is not a method of this daemon.")
    module, _, name = row.handler.partition(".")
    function = getattr(import_module(f"{__name__}.{module}"), name)
    model = row.params
    assert model is not None and issubclass(model, Params)

    async def run(call: Call) -> Any:
        return await function(call, _parse_params(model, call.params))

    return Handler(run, row.has_large_answer)


def _parse_params(model: type[Params], params: object) -> Params:
    if params is not None and not isinstance(params, dict):
        raise invalid_params([{"path": "", "problem": "The params must be a JSON object."}])
    try:
        return model.from_wire(as_object(cast("object", params)))
    except ValidationError as error:
        raise invalid_params([problem.to_wire() for problem in field_problems(error)]) from None
