"""How many tokens Anthropic's models may be asked to write: the API wants a bound with every request."""

import re

USUAL = 32_000
"""The bound of an answer when nobody sets one, thinking not counted."""

_MOST = 128_000
# Models not named here, newer ones above all, take _MOST.
_LIMITS: tuple[tuple[re.Pattern[str], int], ...] = (
    (re.compile(r"claude-(v?2|instant|3-(opus|sonnet|haiku))"), 4096),
    (re.compile(r"claude-3-5-"), 8192),
    (re.compile(r"claude-opus-4(-[01])?(?![-.\d])|claude-opus-4(-1)?-20\d\d"), 32_000),
    (re.compile(r"claude-3-7-|claude-sonnet-4(-0)?(?![-.\d])|claude-sonnet-4-20\d\d"), 64_000),
    (re.compile(r"claude-(opus|sonnet|haiku)-4[-.]5"), 64_000),
)


def most_tokens(model: str, budget: int | None) -> int:
    """Return the bound for a model whose answer nobody bounds. `budget` is for thinking, a part of it.

    It is never above what the model can write, nor is it within the budget.
    """
    limit = next((limit for pattern, limit in _LIMITS if pattern.search(model)), _MOST)
    if budget is None:
        return min(USUAL, limit)
    return max(min(budget + USUAL, limit), budget + 1)
