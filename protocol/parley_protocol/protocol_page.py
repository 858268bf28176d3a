"""Generates the table rows of protocol/README.md from the method table, the events and the error codes.

The rows stand between a marker line and `<!-- end -->`. Both are HTML comments, which readers do not see:

    <!-- generated methods: Chats -->
    <!-- generated events -->
    <!-- generated error codes -->

Only the text between the two lines is replaced. The prose around it is written by hand.
"""

import re
from collections.abc import Iterator
from typing import Final, get_args, get_origin

from pydantic.alias_generators import to_camel

from parley_protocol.errors import ErrorCode
from parley_protocol.methods import GROUPS, Kind, Method
from parley_protocol.models import parts
from parley_protocol.models.events import EVENT_TYPES, EventBase

_BLOCK: Final = re.compile(r"^<!-- generated ([^>]+) -->\n.*?^<!-- end -->$", re.M | re.S)


def update_page(text: str) -> str:
    """Return the page with the rows of every table as they are generated now.

    Raises:
        ValueError: the page lacks the marker of a table, has it twice, or has an unknown one.
    """
    tables = _tables()
    found = _BLOCK.findall(text)
    if sorted(found) != sorted(tables):
        raise ValueError(f"The page has the tables {sorted(found)}; it needs {sorted(tables)}.")
    return _BLOCK.sub(lambda block: f"<!-- generated {block[1]} -->\n{tables[block[1]]}<!-- end -->", text)


def _tables() -> dict[str, str]:
    tables = {
        f"methods: {group}": _table(("method", "params → result", "what it does"), map(_method_cells, rows))
        for group, rows in GROUPS.items()
    }
    tables["events"] = _table(
        ("type", "carries", "meaning"), [_event_cells(name, kind) for name, kind in EVENT_TYPES.items()]
    )
    tables["error codes"] = _table(
        ("code", "name", "meaning"), [(str(int(code)), f"`{code.name}`", code.meaning) for code in ErrorCode]
    )
    return tables


def _table(
    head: tuple[str, str, str], rows: "Iterator[tuple[str, str, str]] | list[tuple[str, str, str]]"
) -> str:
    lines = [head, ("---",) * 3, *rows]
    return "".join([_line(cells) for cells in lines])


def _line(cells: tuple[str, ...]) -> str:
    if cells[0] == "---":
        return f"|{'|'.join(cells)}|\n"
    return f"| {' | '.join(cells)} |\n"


def _method_cells(method: Method) -> tuple[str, str, str]:
    fields = {} if method.params is None else method.params.model_fields
    names = [to_camel(name) + ("" if field.is_required() else "?") for name, field in fields.items()]
    params = f"`{{{', '.join(names)}}}`" if names else "none"
    result = f" → {_type_name(method.result)}" if method.kind is Kind.REQUEST else ""
    return f"`{method.name}`", f"{params}{result}", method.doc


def _type_name(result: object) -> str:
    if result is None:
        return "null"
    if get_origin(result) is list:
        return f"[{_type_name(get_args(result)[0])}]"
    return name_of(result)


def name_of(result: object) -> str:
    """Return the name of a model, or of a union of parts."""
    if isinstance(result, type):
        return result.__name__
    return next(name for name, value in vars(parts).items() if value is result)


def _event_cells(name: str, event: type[EventBase]) -> tuple[str, str, str]:
    """Return the event's own fields, and the first line of its docstring as its meaning."""
    own = {
        field: info
        for field, info in event.model_fields.items()
        if field != "type" and field not in EventBase.model_fields
    }
    names = [to_camel(field) + ("" if info.exclude_if is None else "?") for field, info in own.items()]
    assert event.__doc__ is not None
    return f"`{name}`", f"`{', '.join(names)}`", event.__doc__.splitlines()[0]
