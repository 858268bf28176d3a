"""The options of each provider API: what only one of them has. `option_values` has their closed sets."""

from typing import Annotated, Any, Literal

from pydantic import Field

from parley_protocol.models.base import PositiveInt, Wire, absent_when_none
from parley_protocol.models.option_values import (
    AnthropicEffort,
    CompatibleEffort,
    ExtraBody,
    HarmCategory,
    HarmThreshold,
    Includable,
    Quantization,
    ReasoningEffort,
    ReasoningSummary,
    RoutingOrder,
    ServiceTier,
)

LogitBias = dict[str, Annotated[float, Field(ge=-100, le=100)]]


class Options(Wire):
    """Base of the options of provider APIs. They are kept as the client set them: an option that is not set
    is left out, not null.
    """

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for field in cls.model_fields.values():
            field.exclude_if = None if field.is_required() else absent_when_none


class OpenAIOptions(Options):
    """Options of OpenAI's APIs, also used for Azure. The names are OpenAI's, in camelCase."""

    instructions: str | None = None
    """Instructions beside the system prompt. Responses API only."""

    logit_bias: LogitBias | None = None
    """How much likelier tokens become, by token id: -100 (never) to 100 (always). Chat completions only."""

    log_probs: bool | None = None
    """Whether the log probabilities of the tokens are requested."""

    top_log_probs: Annotated[int, Field(ge=0, le=20)] | None = None
    """How many likeliest tokens are reported at each position."""

    max_tool_calls: PositiveInt | None = None
    """How many calls of built-in tools one answer may make. Responses API only."""

    parallel_tool_calls: bool | None = None
    """Whether the model may call several tools at once. Sent only with tools."""

    user: str | None = None
    """The end user, for OpenAI's detection of abuse."""

    reasoning_effort: ReasoningEffort | None = None
    """How much the model reasons. Each model supports some of the values."""

    reasoning_summary: ReasoningSummary | None = None
    """How detailed the streamed summary of the reasoning is. Responses API only."""

    max_completion_tokens: PositiveInt | None = None
    """Another name of the setting `maxOutputTokens`, in tokens. Not together with it."""

    text_verbosity: Literal["low", "medium", "high"] | None = None
    """How long the answer is."""

    prediction: dict[str, Any] | None = None
    """Text that the answer is expected to repeat: `{"type": "content", "content": …}`. Chat completions
    only.
    """

    store: bool | None = None
    """Whether OpenAI stores the answer. false unless set."""

    metadata: dict[str, str] | None = None
    """Labels that OpenAI keeps with a stored answer."""

    prompt_cache_key: str | None = None
    """Requests with the same key share a prompt cache."""

    safety_identifier: str | None = None
    """A hash that identifies the end user."""

    service_tier: ServiceTier | None = None
    """The processing tier, which decides speed and price."""

    structured_outputs: bool | None = None
    """false: the model has no support for schemas; `outputSchema` is described to it in words."""

    strict_json_schema: bool | None = None
    """Whether `outputSchema` is sent as a strict schema. null: if it follows the rules of strict schemas."""

    include: list[Includable] | None = None
    """Data that the answer should have in addition. Responses API only."""


class AnthropicThinking(Options):
    """Turns extended thinking on."""

    budget_tokens: PositiveInt
    """How much the model may think, in tokens."""


class AnthropicOptions(Options):
    """Options of Anthropic's API, also used for Bedrock."""

    send_reasoning: bool | None = None
    """Whether earlier reasoning is sent back to the model."""

    thinking: AnthropicThinking | None = None
    """Extended thinking, for models up to 4.6."""

    effort: AnthropicEffort | None = None
    """How much work the model puts into the answer."""

    disable_parallel_tool_use: bool | None = None
    """Whether the model may call only one tool at a time."""


class GoogleThinkingConfig(Options):
    """How much the model may think."""

    thinking_budget: Annotated[int, Field(ge=-1)] | None = None
    """In tokens. -1: the model decides; 0: no thinking."""

    include_thoughts: bool | None = None
    """Whether the reasoning is streamed."""


class GoogleSafetySetting(Options):
    """The threshold of one harm category, in Google's words."""

    category: HarmCategory
    """The category of harm."""

    threshold: HarmThreshold
    """From which probability of harm on an answer is blocked."""


class GoogleOptions(Options):
    """Options of Google's API."""

    thinking_config: GoogleThinkingConfig | None = None
    """How much the model may think, and whether that is streamed."""

    cached_content: str | None = None
    """The name of cached content to use: "cachedContents/…"."""

    safety_settings: list[GoogleSafetySetting] | None = None
    """The thresholds of single harm categories."""

    threshold: HarmThreshold | None = None
    """The threshold of every harm category that `safetySettings` does not name."""


class OpenAICompatOptions(Options):
    """Options of servers that are compatible with OpenAI's chat completions."""

    user: str | None = None
    """The end user, for the server's records."""

    reasoning_effort: CompatibleEffort | None = None
    """How much the model reasons. Each server supports some of the values."""

    extra_body: ExtraBody | None = None
    """Fields that replace those of the request's body; null removes one. No fields that declare tools."""

    extra_headers: dict[str, str] | None = None
    """Headers that are added to the request."""


class RouterReasoning(Options):
    """Reasoning options of OpenRouter and Vercel."""

    enabled: bool | None = None
    """Whether the model reasons."""

    exclude: bool | None = None
    """true: the model reasons, and its reasoning is not streamed."""

    max_tokens: PositiveInt | None = None
    """How much the model may reason, in tokens."""

    effort: ReasoningEffort | None = None
    """How much the model reasons."""


class OpenRouterRouting(Options):
    """Which upstream providers OpenRouter may use, and in which order. The fields are OpenRouter's."""

    order: list[str] | None = None
    """Upstream providers that are tried first, in this order."""

    allow_fallbacks: bool | None = None
    """Whether other upstream providers are tried after those in `order`."""

    require_parameters: bool | None = None
    """Whether only upstream providers are used that support all parameters of the request."""

    data_collection: Literal["allow", "deny"] | None = None
    """Whether upstream providers may keep the data."""

    only: list[str] | None = None
    """The upstream providers that may be used."""

    ignore: list[str] | None = None
    """The upstream providers that are not used."""

    quantizations: list[Quantization] | None = None
    """The quantizations of the model that may be used."""

    sort: RoutingOrder | None = None
    """What upstream providers are sorted by."""


class OpenRouterOptions(Options):
    """Options of OpenRouter."""

    reasoning: RouterReasoning | None = None
    """How much the model reasons, and whether that is streamed."""

    extra_body: ExtraBody | None = None
    """Fields that replace those of the request's body; null removes one. No fields that declare tools."""

    include_usage: bool | None = None
    """Has no effect any more: usage is always included."""

    logit_bias: LogitBias | None = None
    """How much likelier tokens become, by token id: -100 (never) to 100 (always)."""

    log_probs: bool | None = None
    """Whether the log probabilities of the tokens are requested."""

    parallel_tool_calls: bool | None = None
    """Whether the model may call several tools at once. Sent only with tools."""

    user: str | None = None
    """The end user, for OpenRouter's detection of abuse."""

    provider: OpenRouterRouting | None = None
    """Which upstream providers are used."""


class VercelRouting(Options):
    """Which upstream providers and models the Vercel gateway tries, and in which order."""

    order: list[str] | None = None
    """Upstream providers, in the order in which they are tried."""

    models: list[str] | None = None
    """Models that are tried in this order if the chosen one fails."""


class VercelOptions(Options):
    """Options of the Vercel gateway."""

    reasoning: RouterReasoning | None = None
    """How much the model reasons, and whether that is streamed."""

    provider_options: VercelRouting | None = None
    """Which upstream providers and models are used."""

    user: str | None = None
    """The end user, for the gateway's records."""

    logit_bias: LogitBias | None = None
    """How much likelier tokens become, by token id: -100 (never) to 100 (always)."""

    log_probs: bool | None = None
    """Whether the log probabilities of the tokens are requested."""

    top_log_probs: Annotated[int, Field(ge=0, le=20)] | None = None
    """How many likeliest tokens are reported at each position."""

    parallel_tool_calls: bool | None = None
    """Whether the model may call several tools at once. Sent only with tools."""

    extra_body: ExtraBody | None = None
    """Fields that replace those of the request's body; null removes one. No fields that declare tools."""


class ProviderOptions(Wire):
    """Options by API. Those for other APIs than the model's are stored but not sent."""

    openai: OpenAIOptions | None = None
    """For providers of the types `openai` and `azure`."""

    anthropic: AnthropicOptions | None = None
    """For providers of the types `anthropic` and `bedrock`."""

    google: GoogleOptions | None = None
    """For providers of the type `google`."""

    openai_compat: OpenAICompatOptions | None = None
    """For providers of the type `openai-compat`."""

    openrouter: OpenRouterOptions | None = None
    """For providers of the type `openrouter`."""

    vercel: VercelOptions | None = None
    """For providers of the type `vercel`."""
