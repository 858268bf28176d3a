"""Maps settings and provider options to the fields of a request, by tables. An option that is set and not in
the table is an error, never ignored.

A table maps the name in the protocol to the provider's field; a dot leads into an object:
"thinking.budget_tokens".
"""

import re
from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from parley_daemon.adapters.providers.shared.dialect import InvalidRequestError
from parley_daemon.core.records import ModelSettings

# Names of fields that declare or switch on tools, in lower case and with letters and digits only: the fields
# of the APIs themselves, and those by which servers are told to search, to run code or to ask other servers.
_TOOL_FIELD = re.compile(
    r"\w*tools?|tool(?:choice|config|sets?|resources|specs?|use)|functions?(?:call|choice|declarations?)?"
    r"|functioncallingconfig|\w*mcp\w*|\w*websearch\w*|plugins?|searchparameters|searchoptions"
    r"|(?:enable|force|use)d?(?:web|online|live)?search|googlesearch\w*|urlcontext|codeinterpreter"
    r"|codeexecution|computeruse|filesearch|retrieval|connectors?|datasources?|preset"
)
_NOT_OF_THE_API = frozenset(
    ("responseformat", "jsonschema", "guidedjson", "structuredoutputs", "format", "metadata", "logitbias")
)

Json = dict[str, object]
Table = Mapping[str, str]

NOT_IN_TABLES = frozenset(
    {"output_schema", "timeouts", "fallback_models", "local_only", "agent", "provider_options"}
)
"""Settings that the daemon acts on itself, or that a dialect maps by code. Tables map all others."""

_WIRE_NAMES = {
    field.name: field.encode_name
    for field in msgspec.structs.fields(ModelSettings)
    if field.name not in NOT_IN_TABLES
}


def map_settings(settings: ModelSettings, table: Table, provider: str) -> Json:
    """Return the fields of the common settings. `table` is keyed by their names in the protocol.

    Raises:
        InvalidRequestError: a setting is set that is not in the table. `provider` is named in the message.
    """
    options = {wire: getattr(settings, name) for name, wire in _WIRE_NAMES.items()}
    return map_options({name: value for name, value in options.items() if value is not None}, table, provider)


def map_options(
    options: Mapping[str, object], table: Table, provider: str, *, skip: Iterable[str] = ()
) -> Json:
    """Return options under the provider's names, nested as in the table; the names in `skip` are left out.

    Raises:
        InvalidRequestError: an option is not in the table.
    """
    skipped = frozenset(skip)
    body: Json = {}
    for name, value in options.items():
        if name in skipped:
            continue
        if name not in table:
            raise InvalidRequestError(
                f'{provider} does not support the option "{name}". Remove it from the settings.'
            )
        *path, last = table[name].split(".")
        target = body
        for step in path:
            target = cast("Json", target.setdefault(step, {}))
        target[last] = value
    return body


def check_token_limit(settings: ModelSettings, options: Mapping[str, object], provider: str) -> None:
    """Check that only one limit of the answer is set: `maxCompletionTokens` is another name of the setting.

    Raises:
        InvalidRequestError: both are set.
    """
    if settings.max_output_tokens is not None and options.get("maxCompletionTokens") is not None:
        raise InvalidRequestError(
            f'"maxOutputTokens" and "maxCompletionTokens" are the same option of {provider}. Remove one of'
            " them from the settings."
        )


def read_extra_body(options: Mapping[str, object], provider: str) -> Json:
    """Return the fields of the option `extraBody`.

    Raises:
        InvalidRequestError: one of them declares or switches on tools: what a model may do is a setting of
            the chat. Clients cannot set such an option, but a chat may have one from an earlier version.
    """
    extra = options.get("extraBody")
    fields = cast("Json", extra) if isinstance(extra, Mapping) else {}
    name = tool_field(fields)
    if name is not None:
        raise InvalidRequestError(
            f'"extraBody" declares tools for {provider} ("{name}"), whose calls cannot be answered. Remove'
            f' "{name}" from the settings.'
        )
    return fields


def tool_field(extra_body: Mapping[str, object]) -> str | None:
    """Return the first field of an `extraBody`, at any depth, that declares or switches on tools; None: none.

    null removes a field of the request, and false switches something off: both are allowed. The names in a
    JSON Schema and in labels are not the API's.
    """
    pending: list[tuple[str, object]] = list(reversed(list(extra_body.items())))
    while pending:
        name, value = pending.pop()
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        if value is None or value is False or plain in _NOT_OF_THE_API:
            continue
        if _TOOL_FIELD.fullmatch(plain):
            return name
        if isinstance(value, Mapping):
            pending += reversed(list(cast("Mapping[str, object]", value).items()))
        elif isinstance(value, list | tuple):
            pending += [("", each) for each in reversed(cast("list[object]", value))]
    return None


def to_snake_case(value: object) -> object:
    """Return an object with its keys in snake case: `allowFallbacks` becomes `allow_fallbacks`."""
    if not isinstance(value, Mapping):
        return value
    items = cast("Mapping[str, object]", value).items()
    return {"".join([f"_{c.lower()}" if c.isupper() else c for c in name]): each for name, each in items}
