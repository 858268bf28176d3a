"""The base classes of all objects and params on the wire, and the description of invalid params.

Pydantic builds the validator of a model on its first use, not on import (`defer_build`): a process pays only
for the models that it uses.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    ValidationError,
    ValidationInfo,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

MAX_PROBLEMS = 20
"""At most so many invalid fields are reported for one request."""

MAX_PATH_LENGTH = 200
"""Characters after which the path of an invalid field is cut."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that every JSON parser reads exactly (RFC 8259, section 6)."""

METADATA_LIMIT = 16 * 1024
"""The largest `metadata` of a chat, in bytes of JSON."""

SYSTEM_PROMPT_LIMIT = 256 * 1024
"""The largest system prompt, in bytes of UTF-8. It is part of every snapshot and list."""

PATHS_LIMIT = 64 * 1024
"""The largest list of a chat's context, in bytes of UTF-8."""

MAX_ID_LENGTH = 1024
"""Characters of an id, a token or the name of a model. A token is repeated in each of its notifications."""

CLIENT_CONTEXT: Final = "from a client"
"""The context of the validator for params. Objects from a store or a file are validated less strictly."""


class Wire(BaseModel):
    """An object on the wire: snake_case in Python, camelCase in JSON. Unknown fields are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", defer_build=True
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the object as JSON values. Empty fields are null; in parts they are absent."""
        return self.model_dump(mode="json", by_alias=True)


class Params(Wire):
    """The params of a method. Unknown fields are refused, in nested objects, too."""

    model_config = ConfigDict(extra="forbid")

    def to_wire(self) -> dict[str, Any]:
        """Return the params as JSON values: only the fields that were set, null for None."""
        return self.model_dump(mode="json", by_alias=True, include=self.model_fields_set)

    @classmethod
    def from_wire(cls, value: Mapping[str, Any] | None) -> Self:
        """Return the params of a request. None (no params) counts as an empty object.

        Only camelCase names and exact JSON types are accepted, such as no number in a string.

        Raises:
            pydantic.ValidationError: see `field_problems` for the description that the client gets.
        """
        given: Mapping[str, Any] = {} if value is None else value
        return cls.model_validate(
            given, strict=True, extra="forbid", by_alias=True, by_name=False, context=CLIENT_CONTEXT
        )


@dataclass(frozen=True)
class OneOf:
    """Marks a text with a closed set of values: `Annotated[str, OneOf("low", "high")]`.

    Only what a client or the configuration file sets is checked. An object from a store or a file may have
    another value, because sets change from version to version.
    """

    values: tuple[str, ...]

    def __init__(self, *values: str) -> None:
        object.__setattr__(self, "values", values)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the validator of a text."""
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return an enumeration."""
        return {**handler(schema), "enum": list(self.values)}

    def _check(self, value: str, info: ValidationInfo) -> str:
        if value not in self.values and info.context == CLIENT_CONTEXT:
            raise ValueError(f"must be {alternatives(self.values)}")
        return value


def alternatives(values: Sequence[str]) -> str:
    """Return values in the words of an error message: "'low', 'medium' or 'high'"."""
    quoted = [f"'{value}'" for value in values]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def absent_when_none(value: object) -> bool:
    """Return whether a field is left out of the JSON (pydantic's `exclude_if`)."""
    return value is None


def _check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if size > METADATA_LIMIT:
        raise ValueError(f"takes {size} bytes of JSON; the limit is {METADATA_LIMIT}")
    return value


def _check_system_prompt(value: str) -> str:
    size = len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if size > SYSTEM_PROMPT_LIMIT:
        raise ValueError(f"takes {size} bytes; the limit is {SYSTEM_PROMPT_LIMIT}")
    return value


def check_paths(value: list[str]) -> list[str]:
    """Raise ValueError if a list of a chat's context is too long."""
    size = sum([len(path.encode("utf-8", "surrogatepass")) for path in value])
    if size > PATHS_LIMIT:
        raise ValueError(f"takes {size} bytes; the limit is {PATHS_LIMIT}")
    return value


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _to_utc(value: str) -> str:
    """Return a time in UTC with milliseconds, the format of all times on the wire."""
    text = value.upper()
    try:
        if _RFC_3339.fullmatch(text) is None:
            raise ValueError
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time as in RFC 3339, such as 2026-11-21T09:15:00.000Z") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_uri(value: str) -> str:
    """Return the value if it is a URI (RFC 3986). Letters of any script are accepted unencoded, too.

    Raises:
        ValueError: it is not; the message says why.
    """
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise ValueError("must be a URI, such as file:///home/ada/project, not a path")
    if _NOT_IN_URI.search(value):
        raise ValueError(
            "must be a URI: encode spaces and other special characters, such as file:///home/ada/my%20project"
        )
    rest = value[scheme.end() :]
    is_file = scheme[0].lower() == "file:"
    if not rest.strip("/") and not (is_file and rest in ("/", "///")):
        raise ValueError("must be a URI with something after its scheme, such as file:///home/ada/project")
    if is_file and not _ABSOLUTE.match(rest):
        raise ValueError("must be a URI of an absolute path, such as file:///home/ada/project")
    return value


# At least two letters: a single one is the drive of a Windows path.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.ASCII | re.IGNORECASE)
_NOT_IN_URI = re.compile(r"[\s\x00-\x20\x7f-\xa0\"<>\\^`{|}]|%(?![0-9a-fA-F]{2})")
_ABSOLUTE = re.compile(r"(//[^/]*)?/")


def check_not_blank(value: str) -> str:
    """Return the value if it has a visible character.

    Raises:
        ValueError: it has none.
    """
    if _VISIBLE.search(value) is None:
        raise ValueError("must not be blank")
    return value


# Control characters, and characters that only direct how others are shown, are not visible.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)

OptionalStr = Annotated[str | None, Field(exclude_if=absent_when_none)]
OptionalInt = Annotated[int | None, Field(exclude_if=absent_when_none)]
OptionalFloat = Annotated[float | None, Field(exclude_if=absent_when_none)]

Metadata = Annotated[dict[str, Any], AfterValidator(_check_metadata)]
SystemPrompt = Annotated[str, AfterValidator(_check_system_prompt)]
Title = Annotated[str, Field(max_length=255)]
NewTitle = Annotated[Title, AfterValidator(check_not_blank)]
"""A title in params. Titles of stored and exported chats may be blank."""
Timestamp = Annotated[str, AfterValidator(_to_utc), Field(json_schema_extra={"format": "date-time"})]
Uri = Annotated[str, AfterValidator(check_uri), Field(json_schema_extra={"format": "uri"})]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH)]
ClientMessageId = Annotated[str, Field(min_length=1, max_length=255)]
Query = Annotated[str, Field(max_length=1000)]
Cursor = Annotated[str, Field(max_length=2**20)]
Limit = Annotated[int, Field(ge=1, le=200)]
Line = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER)]
Count = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER)]
PositiveInt = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER)]


def _tag_of_token(value: object) -> str | None:
    return "<str>" if isinstance(value, str) else "<int>" if type(value) is int else None


# The tags of unions are in angle brackets, so that they differ from fields in the path of an error.
Token = Annotated[
    Annotated[int, Tag("<int>")] | Annotated[str, Field(max_length=MAX_ID_LENGTH), Tag("<str>")],
    Discriminator(
        _tag_of_token,
        custom_error_type="parley_token",
        custom_error_message="must be an integer or a string",
    ),
]
"""A token or request id, chosen by one side: `integer | string` as in LSP 3.17."""

Role = Literal["system", "user", "assistant", "tool"]


class FieldProblem(Wire):
    """An invalid field of params. `path` is written like `settings.temperature` or `content[0].uri`."""

    path: str
    """The field, such as `settings.temperature` or `content[0].uri`; empty: the params as a whole."""
    problem: str


class InvalidParamsData(Wire):
    """The `data` of an error -32602."""

    fields: list[FieldProblem]


# The texts of pydantic are not sent to clients: they name classes and change between versions.
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of these params",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt:.16g}",
    "greater_than_equal": "must be {ge:.16g} or more",
    "less_than_equal": "must be {le:.16g} or less",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
}


def field_problems(error: ValidationError) -> list[FieldProblem]:
    """Return the invalid fields of params, at most MAX_PROBLEMS, in words for the client."""
    found = error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    return [FieldProblem(path=path_of(item["loc"]), problem=_problem(dict(item))) for item in found]


def path_of(location: tuple[int | str, ...]) -> str:
    """Return the path of a field in JSON notation; empty for the params as a whole."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not step.startswith(("<", "[key]")):  # the tag of a union, or pydantic's mark of an invalid key
            path += f".{step}" if path else step
    return path if len(path) <= MAX_PATH_LENGTH else f"{path[: MAX_PATH_LENGTH - 1]}…"


def _problem(item: dict[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "value_error":  # raised by a validator of this package, with a text for clients
        return str(context["error"])
    if kind.startswith("parley_"):
        return item["msg"]
    return _WORDS.get(kind, "has a wrong value").format(**context)
