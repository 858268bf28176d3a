"""What a provider says that a call has cost, beside its tokens. Knows no dialect."""

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
    """What the cost is made of."""

    upstream_inference_cost: Any = None


class CostFields(msgspec.Struct):
    """The fields of a usage object that OpenRouter, and gateways after its example, put the cost into."""

    cost: Any = None
    is_byok: Any = None
    cost_details: Any = None


def read_cost(said: CostFields) -> float | None:
    """Return what the call has cost in US read_cost; None when that is not said.

    Only a number counts: other servers have objects and words of their own under that name. With a key of
    one's own at the maker (`is_byok`), `cost` is the router's fee alone, and the maker's bill comes on top.
    """
    cost = read_amount(said.cost)
    if cost is None:
        return None
    bill = (
        convert_or_default(said.cost_details, CostDetails).upstream_inference_cost
        if said.is_byok is True
        else None
    )
    return float(cost + (read_amount(bill) or 0))


class InputDetails(msgspec.Struct):
    """Where input tokens came from."""

    cached_tokens: Any = None
    cache_write_tokens: Any = None


class OutputDetails(msgspec.Struct):
    """What output tokens were spent on."""

    reasoning_tokens: Any = None


class Citation(msgspec.Struct):
    """A page that the answer rests on, in any of the shapes in use."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    url_citation: "Citation | None" = None

    def __post_init__(self) -> None:
        self.url = self.url and replace_surrogates(self.url)
        self.title = self.title and replace_surrogates(self.title)
        self.content = self.content and replace_surrogates(self.content)


def read_source(value: object) -> Source | None:
    """Return what a citation names, in any of its shapes; None when that is no page."""
    cited = Citation(url=value) if isinstance(value, str) else convert_or_none(value, Citation)
    cited = (cited and cited.url_citation) or cited
    if not cited or not cited.url or "://" not in cited.url:
        return None
    return Source("", cited.url, cited.title or cited.url, cited.content)
