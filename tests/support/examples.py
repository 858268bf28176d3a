"""How many examples a test with an expensive example draws."""

from hypothesis import settings

THOROUGH = "thorough"
_TIMES_MORE = 6


def examples(fast: int) -> int:
    """Return this number, or six times as many under the Hypothesis profile of `make test SLOW=1`."""
    return fast * _TIMES_MORE if settings.get_current_profile_name() == THOROUGH else fast
