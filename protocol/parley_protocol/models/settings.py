"""Settings of model calls: sampling, time limits, and the options of each provider API.

A field that is null is not sent to the provider.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from parley_protocol.models.base import MAX_SAFE_INTEGER, Id, PositiveInt, Wire, absent_when_none

Penalty = Annotated[float, Field(ge=-2, le=2)]
LogitBias = dict[str, Annotated[float, Field(ge=-100, le=100)]]


class Timeouts(Wire):
    """Time limits of one model call in milliseconds. null: the daemon's default.

    - `connectMs`: until the connection is open.
    - `firstPartMs`: until the first part, connecting included.
    - `idleMs`: between two parts.
    - `totalMs`: the whole call.
    """

    connect_ms: PositiveInt | None = None
    first_part_ms: PositiveInt | None = None
    idle_ms: PositiveInt | None = None
    total_ms: PositiveInt | None = None


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
    logit_bias: LogitBias | None = None
    log_probs: bool | None = None
    top_log_probs: Annotated[int, Field(ge=0, le=20)] | None = None
    max_tool_calls: PositiveInt | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    reasoning_effort: str | None = None
    reasoning_summary: str | None = None
    max_completion_tokens: PositiveInt | None = None
    text_verbosity: Literal["low", "medium", "high"] | None = None
    prediction: dict[str, Any] | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    structured_outputs: bool | None = None
    strict_json_schema: bool | None = None
    include: list[str] | None = None


class AnthropicThinking(Options):
    """Turns extended thinking on, with at most `budgetTokens` tokens."""

    budget_tokens: PositiveInt


class AnthropicOptions(Options):
    """Options of Anthropic's API, also used for Bedrock. `sendReasoning`: earlier reasoning is sent back to
    the model.
    """

    send_reasoning: bool | None = None
    thinking: AnthropicThinking | None = None
    effort: str | None = None
    disable_parallel_tool_use: bool | None = None


class GoogleThinkingConfig(Options):
    """How much the model may think. `thinkingBudget` is in tokens, -1: the model decides, 0: off.
    `includeThoughts`: the reasoning is streamed.
    """

    thinking_budget: Annotated[int, Field(ge=-1)] | None = None
    include_thoughts: bool | None = None


class GoogleSafetySetting(Options):
    """The threshold of one harm category, in Google's words."""

    category: str
    threshold: str


class GoogleOptions(Options):
    """Options of Google's API. `threshold` applies to every harm category that `safetySettings` does not
    name.
    """

    thinking_config: GoogleThinkingConfig | None = None
    cached_content: str | None = None
    safety_settings: list[GoogleSafetySetting] | None = None
    threshold: str | None = None


class OpenAICompatOptions(Options):
    """Options of servers that are compatible with OpenAI's chat completions. `extraBody` is merged into the
    request, `extraHeaders` are added to its headers.
    """

    user: str | None = None
    reasoning_effort: str | None = None
    extra_body: dict[str, Any] | None = None
    extra_headers: dict[str, str] | None = None


class RouterReasoning(Options):
    """Reasoning options of OpenRouter and Vercel. `exclude`: reason, but do not stream the reasoning."""

    enabled: bool | None = None
    exclude: bool | None = None
    max_tokens: PositiveInt | None = None
    effort: str | None = None


class OpenRouterRouting(Options):
    """Which upstream providers OpenRouter may use, and in which order. The fields are OpenRouter's."""

    order: list[str] | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    only: list[str] | None = None
    ignore: list[str] | None = None
    quantizations: list[str] | None = None
    sort: str | None = None


class OpenRouterOptions(Options):
    """Options of OpenRouter. `includeUsage` has no effect any more: usage is always included."""

    reasoning: RouterReasoning | None = None
    extra_body: dict[str, Any] | None = None
    include_usage: bool | None = None
    logit_bias: LogitBias | None = None
    log_probs: bool | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    provider: OpenRouterRouting | None = None


class VercelRouting(Options):
    """Which upstream providers and models the Vercel gateway tries, and in which order."""

    order: list[str] | None = None
    models: list[str] | None = None


class VercelOptions(Options):
    """Options of the Vercel gateway."""

    reasoning: RouterReasoning | None = None
    provider_options: VercelRouting | None = None
    user: str | None = None
    logit_bias: LogitBias | None = None
    log_probs: bool | None = None
    top_log_probs: Annotated[int, Field(ge=0, le=20)] | None = None
    parallel_tool_calls: bool | None = None
    extra_body: dict[str, Any] | None = None


class ProviderOptions(Wire):
    """Options by API. Those for other APIs than the model's are stored but not sent."""

    openai: OpenAIOptions | None = None
    anthropic: AnthropicOptions | None = None
    google: GoogleOptions | None = None
    openai_compat: OpenAICompatOptions | None = None
    openrouter: OpenRouterOptions | None = None
    vercel: VercelOptions | None = None


class ModelSettings(Wire):
    """Settings of model calls. null: not set, so the next lower level applies (turn, chat, model, provider's
    default).

    - `stop`: texts at which the model stops.
    - `seed`: asks for repeatable answers, where the provider supports it.
    - `outputSchema`: a JSON Schema that the answer must match.
    - `fallbackModels`: "provider:model" ids that are tried in this order when the model is overloaded, rate
      limited, too slow or unreachable. null: those of the daemon's configuration; empty: none.
    - `localOnly`: only models of local providers are called. true on any level cannot be overridden.
    """

    max_output_tokens: PositiveInt | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: PositiveInt | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=16)] | None = None
    seed: Annotated[int, Field(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)] | None = None
    output_schema: dict[str, Any] | None = None
    timeouts: Timeouts | None = None
    fallback_models: Annotated[list[Id], Field(max_length=16)] | None = None
    local_only: bool | None = None
    provider_options: ProviderOptions | None = None
