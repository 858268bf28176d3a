"""Handlers and the method table: each row has its handler, and each public function is one."""

import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from typing import get_type_hints

import pytest

from parley_daemon.server import handlers
from parley_daemon.server.handlers import find_handler
from parley_daemon.server.wire.errors import WireError
from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS, Method

SERVED = [row for row in METHODS.values() if row.handler is not None]


@pytest.mark.parametrize("row", SERVED, ids=[row.name for row in SERVED])
def test_a_handler_takes_the_params_that_the_table_names(row: Method) -> None:
    assert row.handler is not None
    module, _, name = row.handler.partition(".")
    function = getattr(import_module(f"{handlers.__name__}.{module}"), name)
    assert inspect.iscoroutinefunction(function)
    assert get_type_hints(function)["params"] is row.params
    assert find_handler(row.name).has_large_answer == row.has_large_answer


def test_every_public_function_of_the_handlers_answers_exactly_one_method() -> None:
    public = [
        f"{module.name}.{name}"
        for module in pkgutil.iter_modules(handlers.__path__)
        for name, value in vars(import_module(f"{handlers.__name__}.{module.name}")).items()
        if (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == f"{handlers.__name__}.{module.name}"
        and not name.startswith("_")
    ]
    rows = [str(row.handler) for row in SERVED]
    assert not (set(public) - set(rows)), "add rows for these handlers to methods.py, or make them private"
    assert sorted(public) == sorted(rows)


def test_a_method_without_handler_is_refused_by_its_name() -> None:
    with pytest.raises(WireError, match="chat/fly is not a method of this daemon") as refused:
        find_handler("chat/fly")
    assert refused.value.code == ErrorCode.METHOD_NOT_FOUND


def test_the_modules_of_handlers_and_params_are_imported_at_the_first_call() -> None:
    code = (
        "import sys\nfrom parley_daemon.server.handlers import find_handler\n"
        "names = ('parley_daemon.server.handlers.status', 'parley_protocol.models.server')\n"
        "before = [name in sys.modules for name in names]\n"
        "find_handler('server/status')\n"
        "print(before, [name in sys.modules for name in names])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[False, False] [True, True]"


def test_a_daemon_loads_nothing_of_mcp_servers_before_somebody_needs_one() -> None:
    names = ("mcp", "parley_daemon.adapters.mcp", "parley_daemon.adapters.oauth", "parley_daemon.engine.mcp")
    code = f"import sys, parley_daemon.daemon\nprint([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
