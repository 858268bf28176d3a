"""From arguments to the params of a call, as JSON. Knows no call."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from parley_clients.results import Json

if TYPE_CHECKING:
    from parley_protocol.models.parts import InputPart

    Content = str | Sequence[InputPart | Mapping[str, Any]]


class Unset:
    """The type of UNSET."""


UNSET = Unset()
"""Stands for an argument that was not given, where None means something."""


def given(**params: Any) -> Json:
    """Return params as JSON without those that are None or UNSET."""
    return {
        name: as_json(value) for name, value in params.items() if value is not None and value is not UNSET
    }


def as_json(value: Any) -> Any:
    """Return a value of the wire's models as JSON; JSON as it is."""
    to_wire = getattr(value, "to_wire", None)
    if to_wire is not None:
        return to_wire()
    return (
        [as_json(one) for one in cast("Sequence[Any]", value)] if isinstance(value, list | tuple) else value
    )
