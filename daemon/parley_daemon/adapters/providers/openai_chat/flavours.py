"""What differs between the servers that speak the chat-completions dialect."""

import msgspec

from parley_daemon.adapters.providers.shared.options import Table

_SETTINGS = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",  # not a field of OpenAI, but of the other servers
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "stop": "stop",
    "seed": "seed",
}


class Flavour(msgspec.Struct, frozen=True, gc=False):
    """What differs between servers of the dialect. `group` is their group in `providerOptions`.

    `objects` are the options whose keys are converted to snake case. `returns_reasoning`: signed reasoning is
    sent back as `reasoning_details`. `reasoning_field`: the reasoning before a call is sent back in this
    field, which some models need to go on. `hosts_claude`: it serves Anthropic's models. `strict_tools`: it
    knows strict schemas of tools.
    """

    group: str
    options: Table
    settings: Table
    objects: frozenset[str] = frozenset()
    returns_reasoning: bool = False
    reasoning_field: str | None = None
    hosts_claude: bool = False
    strict_tools: bool = False
    max_id_length: int = 64


OPENAI = Flavour(
    "openai",
    {
        "logitBias": "logit_bias",
        "logProbs": "logprobs",
        "topLogProbs": "top_logprobs",
        "parallelToolCalls": "parallel_tool_calls",
        "user": "user",
        "reasoningEffort": "reasoning_effort",
        "maxCompletionTokens": "max_completion_tokens",
        "textVerbosity": "verbosity",
        "prediction": "prediction",
        "store": "store",
        "metadata": "metadata",
        "promptCacheKey": "prompt_cache_key",
        "safetyIdentifier": "safety_identifier",
        "serviceTier": "service_tier",
    },
    {name: field for name, field in _SETTINGS.items() if name != "topK"}
    | {"maxOutputTokens": "max_completion_tokens"},
    strict_tools=True,
    max_id_length=40,
)
COMPATIBLE = Flavour(
    "openaiCompat",
    {"user": "user", "reasoningEffort": "reasoning_effort"},
    _SETTINGS,
    reasoning_field="reasoning_content",
)
OPENROUTER = Flavour(
    "openrouter",
    {
        "reasoning": "reasoning",
        "includeUsage": "usage.include",
        "logitBias": "logit_bias",
        "logProbs": "logprobs",
        "parallelToolCalls": "parallel_tool_calls",
        "user": "user",
        "provider": "provider",
    },
    _SETTINGS,
    frozenset({"reasoning", "provider"}),
    returns_reasoning=True,
    hosts_claude=True,
)
VERCEL = Flavour(
    "vercel",
    {
        "reasoning": "reasoning",
        "providerOptions": "providerOptions.gateway",
        "user": "user",
        "logitBias": "logit_bias",
        "logProbs": "logprobs",
        "topLogProbs": "top_logprobs",
        "parallelToolCalls": "parallel_tool_calls",
    },
    _SETTINGS,
    frozenset({"reasoning"}),
    returns_reasoning=True,
    hosts_claude=True,
)
