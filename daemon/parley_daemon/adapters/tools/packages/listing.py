"""What installed packages bring, for people who look without a daemon."""

import logging
from collections.abc import Sequence

from parley_daemon.adapters.tools.packages.loading import Offer, find_offers, load_offers


def list_packages() -> Sequence[tuple[str, list[str], list[str]]]:
    """Return each package with its version, the names of its tools, and sentences about what is wrong.

    The packages are imported in this process. What depends on other tools (a taken name) is not found.
    """
    log = logging.getLogger(__package__)
    log.propagate = False  # the problems are returned
    log.addHandler(logging.NullHandler())
    offers = find_offers()
    load_offers(offers, lambda: None)
    found: dict[str, tuple[list[str], list[str]]] = {}
    for offer in offers:
        names, problems = found.setdefault(f"{offer.package} {offer.version}".strip(), ([], []))
        names += [tool.spec.name for tool in offer.tools]
        problems += _problems_of(offer)
    return [(package, sorted(names), problems) for package, (names, problems) in found.items()]


def _problems_of(offer: Offer) -> list[str]:
    if not offer.is_loaded:
        return [f"The tools {offer.name!r} of {offer.source} take unusually long to import."]
    return list(offer.problems.values())
