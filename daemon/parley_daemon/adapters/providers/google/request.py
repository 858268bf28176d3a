"""Builds the body of a generateContent request.

Source: https://ai.google.dev/api/generate-content."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import cast

from parley_daemon.adapters.providers.google.messages import build_contents, fit_tool_name, is_answer
from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.shared.content import join_texts
from parley_daemon.adapters.providers.shared.conversation import encode_conversation, write_body
from parley_daemon.adapters.providers.shared.dialect import EmptyPromptError, InvalidRequestError
from parley_daemon.adapters.providers.shared.options import Json, map_options, map_settings
from parley_daemon.adapters.providers.shared.tool_schema import SchemaRules
from parley_daemon.adapters.providers.shared.tools import SentTools
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import ModelRequest

GROUP = "google"
SETTINGS = {
    "maxOutputTokens": "maxOutputTokens",
    "temperature": "temperature",
    "topP": "topP",
    "topK": "topK",
    "presencePenalty": "presencePenalty",
    "frequencyPenalty": "frequencyPenalty",
    "stop": "stopSequences",
    "seed": "seed",
}
OPTIONS = {
    "thinkingConfig": "generationConfig.thinkingConfig",
    "cachedContent": "cachedContent",
    "safetySettings": "safetySettings",
}
# The categories that can be set. Of the others some are deprecated, some exist on Vertex AI only.
CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)
# Models that take files in results, and tools together with an output schema.
_NEWER = re.compile(r"gemini-(?:[3-9]|[1-9]\d)")
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_TOOL_RULES = SchemaRules(
    keywords=frozenset(("minItems", "maxItems", "minimum", "maximum")),
    formats=frozenset(("date-time",)),
    property_names=re.compile(r"[a-zA-Z0-9_.-]{1,64}"),
    mixed_enums=False,
)


OWN_FIELDS = ("thought_signature", "id")
"""The fields that are sent although nobody has set them."""


def sent_tools(request: ModelRequest) -> SentTools:
    """Return the tools of a request under names that the API accepts."""
    return SentTools(request.tools, fit_tool_name, _TOOL_RULES)


def build_body(
    request: ModelRequest,
    provider: str,
    omitted: frozenset[str] = frozenset(),
    tools: SentTools | None = None,
) -> bytes:
    """Return the JSON body; the URL names the model. `provider` is its name in error messages.

    `omitted` are those of `OWN_FIELDS` that are left out.

    Raises:
        EmptyPromptError: the last message has no content.
        InvalidRequestError: an option is unknown to Google, or cannot be used with tools.
    """
    tools = sent_tools(request) if tools is None else tools
    is_newer = _NEWER.search(request.model) is not None
    conversation = encode_conversation(
        request,
        partial(build_contents, name=tools.name, nests_files=is_newer, omitted=omitted),
        key=("google", request.model, omitted, tools.key),
        is_answer=is_answer,
    )
    if not conversation.has_last:
        raise EmptyPromptError
    system = [request.system_prompt or "", *conversation.system]
    declared = _tools(request, tools, provider)
    schema = request.settings.output_schema
    if declared and schema is not None and not is_newer:
        # Older models accept no response schema together with tools.
        system.append(
            "Give your last answer as one JSON value that fits this JSON Schema, and with nothing else:\n"
            f"{encode_json(schema).decode()}"
        )
        schema = None
    body: Json = {**_settings(request.settings, schema, provider), **declared}
    if instructions := join_texts(system):
        body["systemInstruction"] = {"parts": [{"text": instructions}]}
    return write_body(body, "contents", conversation.items)


def _tools(request: ModelRequest, tools: SentTools, provider: str) -> Json:
    """Return the declarations of tools, and the choice among them."""
    if not tools.tools:
        return {}
    if request.settings.provider_options.get(GROUP, {}).get("cachedContent") is not None:
        raise InvalidRequestError(
            f'{provider} accepts no tools together with "cachedContent". Remove it from the settings.'
        )
    declared: list[Json] = []
    for tool in tools.tools:
        function: Json = {"name": tool.name, "description": tool.description}
        if tool.schema.get("properties"):
            function["parametersJsonSchema"] = tool.schema
        declared.append(function)
    mode = {"functionCallingConfig": {"mode": _MODES[request.tool_choice]}}
    return {"tools": [{"functionDeclarations": declared}], "toolConfig": mode}


def _settings(settings: ModelSettings, schema: Mapping[str, object] | None, provider: str) -> Json:
    options = settings.provider_options.get(GROUP, {})
    config = map_settings(settings, SETTINGS, provider)
    fields = map_options(options, OPTIONS, provider, skip=("threshold",))
    config |= cast("Json", fields.pop("generationConfig", {}))
    if schema is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
    if config:
        fields["generationConfig"] = config
    if options.get("threshold") is not None:
        configured = cast("Iterable[Mapping[str, object]]", fields.get("safetySettings") or ())
        configured_categories = {each.get("category") for each in configured}
        others = [
            {"category": category, "threshold": options["threshold"]}
            for category in CATEGORIES
            if category not in configured_categories
        ]
        fields["safetySettings"] = [*configured, *others]
    return fields
