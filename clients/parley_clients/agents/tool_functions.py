"""Python functions as tools: name, description and JSON Schema of a function, and one call of it.

Theory of operation. The parameters of a function become the fields of a msgspec struct. The JSON Schema of
the struct is what the language model is told, and converting the arguments of a call into it gives the values
to call the function with: what is annotated as a dataclass arrives as that dataclass. So every type works
that msgspec can express as JSON Schema: numbers, texts, `Literal`, enums, lists, dicts, dataclasses,
TypedDicts, dates. Paths and pydantic models work, too.
"""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any, cast

import msgspec
from anyio import to_thread

from parley_clients.agents.docstrings import read_docstring
from parley_clients.errors import ToolFunctionError
from parley_clients.requests import ActionRequest
from parley_clients.results import Json

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolCallError(Exception):
    """A call that failed before or after the function. The message is written for the language model."""


class ToolFunction:
    """A function that a language model can call.

    `name` and `description` are those of the function if they are not given: its docstring, without what
    that says of parameters, which goes into the schema. A parameter that is annotated with ActionRequest is
    not part of the schema: it gets the request of the call.

    Raises:
        ToolFunctionError: the name, the description or the schema cannot be derived.
    """

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, description: str | None = None
    ) -> None:
        if not callable(function):
            raise ToolFunctionError(f"{function!r} is no function.")
        self.function = function
        self.name = name or _name_of(function)
        if not _NAME.fullmatch(self.name):
            raise ToolFunctionError(
                f"{self.name!r} cannot be the name of a tool: give a `name` of letters, digits, _ and -, "
                "at most 64."
            )
        documented = read_docstring(inspect.getdoc(_annotated(function)) or "")
        self.description = description or documented.text
        if not self.description:
            raise ToolFunctionError(
                f"{self.name} has no docstring: write one, or give a `description`. The model decides by it "
                "when to call the function."
            )
        self._parameters: list[tuple[inspect.Parameter, str]] = []
        self._request_parameter = ""
        self._arguments = self._make_struct(documented.parameters)
        self.input_schema = self._make_schema()

    async def call(self, args: Any, request: ActionRequest) -> Any:
        """Call the function with the arguments of a request and return its result as JSON.

        A function that is not a coroutine function runs in a thread.

        Raises:
            ToolCallError: the arguments do not fit, or the result cannot be expressed as JSON.
            Exception: whatever the function raises.
        """
        positional, named = self._bind(args, request)
        call = partial(self.function, *positional, **named)
        if inspect.iscoroutinefunction(self.function):
            value = await call()
        else:
            value = await to_thread.run_sync(call, abandon_on_cancel=True)
            if inspect.isawaitable(value):
                value = await value
        try:
            return msgspec.to_builtins(value, enc_hook=_encode, str_keys=True)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ToolCallError(f"The result of {self.name} cannot be expressed as JSON: {error}.") from None

    # --------------------------------------------------------------------- the schema

    def _make_struct(self, descriptions: Mapping[str, str]) -> type[msgspec.Struct]:
        try:
            parameters = inspect.signature(self.function).parameters.values()
            hints = typing.get_type_hints(_annotated(self.function), include_extras=True)
        except (NameError, TypeError, ValueError) as error:
            raise ToolFunctionError(f"The annotations of {self.name} cannot be read: {error}.") from None
        fields: list[tuple[str, Any, Any]] = []
        names: dict[str, str] = {}
        for number, parameter in enumerate(parameters):
            hint = hints.get(parameter.name, parameter.empty)
            if hint is ActionRequest:
                self._request_parameter = parameter.name
                continue
            self._check(parameter, hint)
            described = _described(hint, descriptions.get(parameter.name))
            # The fields have names of their own: a parameter may be called anything.
            field = f"p{number}"
            names[field] = parameter.name
            fields.append((field, described, _default(parameter)))
            self._parameters.append((parameter, field))
        return msgspec.defstruct(self.name, fields, kw_only=True, rename=names, forbid_unknown_fields=True)

    def _check(self, parameter: inspect.Parameter, hint: Any) -> None:
        where = f"The parameter {parameter.name!r} of {self.name}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ToolFunctionError(f"{where} takes any number of values. Give each parameter a name.")
        if hint is parameter.empty:
            raise ToolFunctionError(
                f"{where} has no annotation. Annotate it, such as `{parameter.name}: str`."
            )
        try:
            _schema_of(hint)
        except (TypeError, ValueError, NotImplementedError):
            shown = (
                hint.__name__
                if inspect.isclass(hint)
                else re.sub(r"\b(typing|collections\.abc)\.", "", str(hint))
            )
            raise ToolFunctionError(
                f"{where} has the type {shown}, which JSON Schema cannot express. Use str, int, float, bool, "
                "Literal, an enum, list, dict, a dataclass, a TypedDict or a pydantic model."
            ) from None

    def _make_schema(self) -> Json:
        schema = _schema_of(self._arguments)
        definitions: Json = schema["$defs"]
        root: Json = definitions.pop(schema["$ref"].rpartition("/")[2])
        root.pop("title", None)
        return {**root, "$defs": definitions} if definitions else root

    def _bind(self, args: Any, request: ActionRequest) -> tuple[list[Any], dict[str, Any]]:
        try:
            values = msgspec.convert({} if args is None else args, self._arguments, dec_hook=_decode)
        except msgspec.ValidationError as error:
            raise ToolCallError(f"The arguments are invalid: {error}.") from None
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for parameter, field in self._parameters:
            value = getattr(values, field)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[parameter.name] = value
        if self._request_parameter:
            named[self._request_parameter] = request
        return positional, named


def _schema_of(hint: Any) -> Json:
    """Return the JSON Schema of a type; the definitions of pydantic models are moved to its own."""
    hoisted: Json = {}

    def from_hook(kind: type) -> Json:
        schema = _hooked_schema(kind)
        hoisted.update(schema.pop("$defs", {}))
        return schema

    schema = msgspec.json.schema(hint, schema_hook=from_hook)
    if hoisted:
        schema["$defs"] = {**hoisted, **schema.get("$defs", {})}
    return schema


# What msgspec does not know: paths, and pydantic models, which are recognised without loading pydantic.


def _hooked_schema(kind: type[Any]) -> Json:
    if issubclass(kind, PurePath):
        return {"type": "string", "format": "path"}
    if hasattr(kind, "model_json_schema"):
        return cast("Any", kind).model_json_schema()
    raise NotImplementedError(kind.__name__)


def _decode(kind: type[Any], value: Any) -> Any:
    if issubclass(kind, PurePath) and isinstance(value, str):
        return kind(value)
    if not hasattr(kind, "model_validate"):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    from pydantic import ValidationError

    try:
        return cast("Any", kind).model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None


def _encode(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    raise NotImplementedError(f"it has a {type(value).__name__}")


def _default(parameter: inspect.Parameter) -> Any:
    default = parameter.default
    if default is parameter.empty:
        return msgspec.NODEFAULT
    # msgspec refuses a mutable default; the function shares one between its calls in any case.
    return default if default is None or isinstance(default, str | int | float) else _shared(default)


def _shared(default: Any) -> Any:
    return msgspec.field(default_factory=lambda: default)


def _described(hint: Any, description: str | None) -> Any:
    if description is None or _has_description(hint):
        return hint
    return typing.Annotated[hint, msgspec.Meta(description=description)]


def _has_description(hint: Any) -> bool:
    metadata: tuple[Any, ...] = getattr(hint, "__metadata__", ())
    return any(isinstance(one, msgspec.Meta) and one.description for one in metadata)


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise ToolFunctionError("A function without a name needs the argument `name`.")
    return cast("str", name)


def _annotated(function: Callable[..., Any]) -> Any:
    """Return what has the annotations of a callable: a function, or the `__call__` of an object."""
    inner: Any = inspect.unwrap(function)
    while isinstance(inner, partial):
        inner = cast("partial[Any]", inner).func
    return inner if inspect.isroutine(inner) else type(inner).__call__
