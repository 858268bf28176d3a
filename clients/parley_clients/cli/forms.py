"""The forms of MCP servers (elicitation), filled in by a person one field after the other.

Theory of operation. A form is the schema of a flat object (`preview.form.answerSchema`): each property is a
field of texts, numbers, yes or no, or choices. What is typed for a field becomes the value that its schema
wants, or is refused with what can be typed. The daemon checks the whole by the schema: what is not checked
here (patterns, lengths) is refused there. Everything in a form is the server's words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from parley_clients.cli.errors import UsageError
from parley_clients.cli.steps import visible_line
from parley_clients.requests import ActionRequest
from parley_clients.results import Json

LEFT_OUT = "-"
"""What is typed to leave a field out."""

_YES, _NO = ("y", "yes", "true"), ("n", "no", "false")
_RANGES = (("minimum", "from"), ("maximum", "to"))

FieldKind = Literal["text", "number", "integer", "boolean", "choice", "choices"]


class Omitted:
    """The answer to a field that is left out."""


OMITTED = Omitted()


@dataclass(frozen=True)
class FormField:
    """A field. `choices` has the value and the label of each; `default` is None if there is none."""

    name: str
    label: str
    kind: FieldKind
    is_required: bool
    description: str = ""
    choices: Sequence[tuple[Any, str]] = ()
    default: Any = None
    range: str = ""

    @property
    def hint(self) -> str:
        """What can be typed."""
        match self.kind:
            case "choice":
                wanted = f"1 to {len(self.choices)}"
            case "choices":
                wanted = f"numbers from 1 to {len(self.choices)}, with commas"
            case "boolean":
                wanted = "y or n"
            case "integer":
                wanted = f"a whole number{self.range}"
            case "number":
                wanted = f"a number{self.range}"
            case "text":
                wanted = f"a text{self.range}"
        if self.default is not None:
            return f"{wanted} · {LEFT_OUT} takes {self.describe(self.default)}"
        return wanted if self.is_required else f"{wanted} · {LEFT_OUT} leaves it out"

    def describe(self, value: Any) -> str:
        """Return a value of the field as people read it."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join([self.describe(one) for one in cast("list[Any]", value)])
        return visible_line(next((label for known, label in self.choices if known == value), str(value)))


def form_fields(request: ActionRequest) -> list[FormField] | None:
    """Return the fields of the form that a request shows; None: it shows none."""
    schema: Json | None = request.form.get("answerSchema")
    if request.kind != "elicitation" or schema is None:
        return None
    required = schema.get("required") or ()
    return [_field(name, field, name in required) for name, field in schema["properties"].items()]


def describe_page(server: str, url: str) -> str:
    """Return a warning of the page that a server sends a person to: whose words it is, and where it leads."""
    parts = urlsplit(url)
    host = visible_line(parts.hostname or "no host")
    plain = "" if parts.scheme == "https" else " It is not encrypted (no https)."
    return (
        f"The MCP server {server} wants you to visit a page of {host}.{plain} Nothing opens it but you: "
        "do so only if you expected this and trust that host."
    )


def _field(name: str, schema: Json, is_required: bool) -> FormField:
    title = schema.get("title")
    items: Json = schema.get("items") or {}
    kind, choices = _kind(schema), _choices(items if schema.get("type") == "array" else schema)
    limits = [f"({visible_line(schema['format'])})"] if isinstance(schema.get("format"), str) else []
    limits += [f"{word} {schema[key]}" for key, word in _RANGES if isinstance(schema.get(key), int | float)]
    return FormField(
        name,
        title if isinstance(title, str) and title else name,
        kind,
        is_required,
        str(schema.get("description") or ""),
        choices,
        schema.get("default"),
        f" {' '.join(limits)}" if limits else "",
    )


def _kind(schema: Json) -> FieldKind:
    kind = schema.get("type")
    if kind == "array":
        return "choices"
    if _choices(schema):
        return "choice"
    return kind if kind in ("number", "integer", "boolean") else "text"


def _choices(schema: Json) -> list[tuple[Any, str]]:
    titled = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(titled, list):
        options = cast("list[Json]", [one for one in cast("list[Any]", titled) if isinstance(one, dict)])
        return [(one.get("const"), str(one.get("title", one.get("const")))) for one in options]
    values: list[Any] = schema.get("enum") or []
    names: list[Any] = schema.get("enumNames") or []
    labels = names if len(names) == len(values) else values
    return [(value, str(label)) for value, label in zip(values, labels, strict=True)]


def read_field(text: str, field: FormField) -> Any:
    """Return the value that a text is for a field, or OMITTED.

    Raises:
        UsageError: it is none. The message says what can be typed.
    """
    typed = text.strip()
    if typed == LEFT_OUT:
        if field.default is not None:
            return field.default
        if field.is_required:
            raise UsageError(f"{visible_line(field.label)} is needed: {field.hint}. /deny declines it all.")
        return OMITTED
    try:
        return _read(typed, field)
    except ValueError:
        raise UsageError(f"This is no answer: {field.hint}.") from None


def _read(typed: str, field: FormField) -> Any:
    match field.kind:
        case "choice":
            return _choose(typed, field)
        case "choices":
            return [_choose(one.strip(), field) for one in typed.split(",") if one.strip()]
        case "boolean":
            if typed.lower() not in (*_YES, *_NO):
                raise ValueError(typed)
            return typed.lower() in _YES
        case "integer":
            return int(typed)
        case "number":
            return int(typed) if typed.lstrip("+-").isdecimal() else float(typed)
        case "text":
            return typed


def _choose(typed: str, field: FormField) -> Any:
    for number, (value, label) in enumerate(field.choices, 1):
        if typed in (str(number), label, value):
            return value
    raise ValueError(typed)
