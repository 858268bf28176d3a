"""The values that options of provider APIs may have, and the checks of what is passed through.

A closed set of values is checked when a client or the configuration file sets the option. Values that were
stored earlier stay readable. The sets are those of the APIs' documentation.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

from pydantic import AfterValidator, ValidationInfo

from parley_protocol.models.base import CLIENT_CONTEXT, OneOf

_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
ReasoningEffort = Annotated[str, OneOf(*_EFFORTS)]
CompatibleEffort = Annotated[str, OneOf("default", *_EFFORTS)]
AnthropicEffort = Annotated[str, OneOf("low", "medium", "high", "xhigh", "max")]
ReasoningSummary = Annotated[str, OneOf("auto", "concise", "detailed")]
ServiceTier = Annotated[str, OneOf("auto", "default", "flex", "scale", "priority")]
Includable = Annotated[
    str,
    OneOf(
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
        "file_search_call.results",
        "message.input_image.image_url",
        "message.output_text.logprobs",
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
        "web_search_call.results",
    ),
]
HarmCategory = Annotated[
    str,
    OneOf(
        "HARM_CATEGORY_HARASSMENT",
        "HARM_CATEGORY_HATE_SPEECH",
        "HARM_CATEGORY_SEXUALLY_EXPLICIT",
        "HARM_CATEGORY_DANGEROUS_CONTENT",
        "HARM_CATEGORY_CIVIC_INTEGRITY",
        "HARM_CATEGORY_JAILBREAK",
    ),
]
HarmThreshold = Annotated[
    str,
    OneOf(
        "OFF",
        "BLOCK_NONE",
        "BLOCK_ONLY_HIGH",
        "BLOCK_MEDIUM_AND_ABOVE",
        "BLOCK_LOW_AND_ABOVE",
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
    ),
]
Quantization = Annotated[str, OneOf("int4", "int8", "fp4", "fp6", "fp8", "fp16", "bf16", "fp32", "unknown")]
RoutingOrder = Annotated[str, OneOf("price", "throughput", "latency")]

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


def tool_field(extra_body: Mapping[str, Any]) -> str | None:
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


def _check_extra_body(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    name = tool_field(value) if info.context == CLIENT_CONTEXT else None
    if name is not None:
        raise ValueError(
            f'must not contain "{name}": what a model may do is not set here but in settings.agent'
        )
    return value


ExtraBody = Annotated[dict[str, Any], AfterValidator(_check_extra_body)]
