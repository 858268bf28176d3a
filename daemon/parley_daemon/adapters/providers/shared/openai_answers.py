"""What the answers of OpenAI's two dialects share: usage details, costs, and citations."""

from typing import Any

import msgspec

from parley_daemon.adapters.providers.http.lenient_json import (
    convert_or_default,
    convert_or_none,
    read_amount,
    replace_surrogates,
)
from parley_daemon.core.parts import Source


class CostDetails(msgspec.Struct):
    """The parts of the cost."""

    upstream_inference_cost: Any = None


class CostFields(msgspec.Struct):
    """The cost in a usage object, as OpenRouter and gateways like it send it."""

    cost: Any = None
    is_byok: Any = None
    cost_details: Any = None


def read_cost(usage: CostFields) -> float | None:
    """Return what the call has cost in US dollars; None when it is not known.

    Only a number counts: other servers send objects and words under that name. With the user's own key at the
    maker (`is_byok`), `cost` is only the router's fee, and the maker's bill is added.
    Source: https://openrouter.ai/docs/use-cases/usage-accounting
    """
    cost = read_amount(usage.cost)
    if cost is None:
        return None
    bill = (
        convert_or_default(usage.cost_details, CostDetails).upstream_inference_cost
        if usage.is_byok is True
        else None
    )
    return float(cost + (read_amount(bill) or 0))


class InputDetails(msgspec.Struct):
    """The tokens read from and written to the prompt cache."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None


class OutputDetails(msgspec.Struct):
    """The output tokens that were spent on reasoning."""

    reasoning_tokens: Any = None


class Citation(msgspec.Struct):
    """A cited page, in any of the shapes that are in use."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    url_citation: "Citation | None" = None

    def __post_init__(self) -> None:
        self.url = self.url and replace_surrogates(self.url)
        self.title = self.title and replace_surrogates(self.title)
        self.content = self.content and replace_surrogates(self.content)


def read_source(value: object) -> Source | None:
    """Return a citation as a source; None when it names no page."""
    cited = Citation(url=value) if isinstance(value, str) else convert_or_none(value, Citation)
    cited = (cited and cited.url_citation) or cited
    if not cited or not cited.url or "://" not in cited.url:
        return None
    return Source("", cited.url, cited.title or cited.url, cited.content)
