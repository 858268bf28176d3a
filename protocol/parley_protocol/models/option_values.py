"""The values that options of provider APIs may have, and the checks of what is passed through.

A closed set of values is checked when a client or the configuration file sets the option. Values that were
stored earlier stay readable. The sets are those of the APIs' documentation.
"""

import re
from typing import Annotated, Any, Final

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

TOOL_FIELDS: Final = frozenset({"tools", "toolchoice", "functions", "functioncall"})
"""Fields of a request that declare tools, in lower case and without "_"."""


def tool_field(extra_body: dict[str, Any]) -> str | None:
    """Return the first field of an `extraBody` that declares tools; None: there is none.

    null removes a field, which is allowed.
    """
    return next(
        (
            name
            for name, value in extra_body.items()
            if value is not None and re.sub(r"[_-]", "", name.lower()) in TOOL_FIELDS
        ),
        None,
    )


def _check_extra_body(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    name = tool_field(value) if info.context == CLIENT_CONTEXT else None
    if name is not None:
        raise ValueError(
            f'must not contain "{name}": no client could answer the calls of tools that are declared here'
        )
    return value


ExtraBody = Annotated[dict[str, Any], AfterValidator(_check_extra_body)]
