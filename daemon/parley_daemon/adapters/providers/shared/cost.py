"""What a provider says that a call has cost, beside its tokens. Knows no dialect."""

from typing import Any

import msgspec

from parley_daemon.adapters.providers.shared.lenient_json import amount, part_of


class CostDetails(msgspec.Struct):
    """What the cost is made of."""

    upstream_inference_cost: Any = None


class Priced(msgspec.Struct):
    """The fields of a usage object that OpenRouter, and gateways after its example, put the cost into."""

    cost: Any = None
    is_byok: Any = None
    cost_details: Any = None


def dollars(said: Priced) -> float | None:
    """Return what the call has cost in US dollars; None when that is not said.

    Only a number counts: other servers have objects and words of their own under that name. With a key of
    one's own at the maker (`is_byok`), `cost` is the router's fee alone, and the maker's bill comes on top.
    """
    cost = amount(said.cost)
    if cost is None:
        return None
    bill = part_of(said.cost_details, CostDetails).upstream_inference_cost if said.is_byok is True else None
    return float(cost + (amount(bill) or 0))
