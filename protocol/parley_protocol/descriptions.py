"""The descriptions of fields in the published schema: what a field means, its unit and its range.

Theory of operation. A description is the text below the field in its class, or in a class above it; without
one it is the entry of the field's name in `vocabulary`. The texts are read from the source when the schema is
generated: they cost nothing when a program runs. The range is added from the limits of the field's type, so
that it cannot differ from them.
"""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any, cast

from parley_protocol.models.base import MAX_SAFE_INTEGER, Wire
from parley_protocol.vocabulary import DEFINITIONS, VOCABULARY

Json = dict[str, Any]


def describe_field(model: type[Wire], name: str, schema: Mapping[str, Any]) -> str:
    """Return the description of a field; `schema` is the one of its values.

    Raises:
        ValueError: the field has no text of its own, and its name is not in the vocabulary.
    """
    kinds = [kind for kind in model.__mro__ if issubclass(kind, Wire)]
    own = next((text for kind in kinds if (text := field_texts(kind).get(name))), None)
    text = own or VOCABULARY.get(name)
    if text is None:
        raise ValueError(
            f"{model.__name__}.{name} has no description: write one below the field,"
            " or add the name to vocabulary.py"
        )
    return " ".join([text, *describe_range(schema)])


def describe_definition(name: str) -> str:
    """Return the description of a definition that is not an object, such as an enumeration.

    Raises:
        ValueError: the vocabulary does not have it.
    """
    if name not in DEFINITIONS:
        raise ValueError(f"{name} has no description: add it to DEFINITIONS in vocabulary.py")
    return DEFINITIONS[name]


@cache
def field_texts(kind: type) -> Mapping[str, str]:
    """Return the texts below the fields of a class, in one line each."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    body = cast("ast.ClassDef", definition).body
    texts: dict[str, str] = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match text:
                case ast.Expr(ast.Constant(str(value))):
                    texts[field.target.id] = " ".join(value.split())
                case _:
                    pass
    return texts


def describe_range(schema: Mapping[str, Any]) -> list[str]:
    """Return the limits of a value as sentences: ["1 to 200."]; [] if there are none."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    if len(options) != 1:
        return []
    (value,) = options
    if "const" in value:
        return [
            f'Always "{value["const"]}".' if isinstance(value["const"], str) else f"Always {value['const']}."
        ]
    least, most = value.get("minimum"), value.get("maximum")
    if most is not None and abs(most) == MAX_SAFE_INTEGER:
        least, most = (None if least == -MAX_SAFE_INTEGER else least), None
    lengths = (value.get("minLength"), value.get("maxLength"), "characters")
    items = (value.get("minItems"), value.get("maxItems"), "items")
    return [
        sentence
        for low, high, unit in ((least, most, ""), lengths, items)
        if (sentence := _sentence(low, high, unit)) is not None
    ]


def _sentence(low: float | None, high: float | None, unit: str) -> str | None:
    of = f" {unit}" if unit else ""
    match low, high:
        case None, None:
            return None
        case _, None:
            return f"{low:g} or more{of}."
        case None, _:
            return f"{high:g} or less{of}." if not unit else f"At most {high:g}{of}."
        case _:
            return f"{low:g} to {high:g}{of}."
