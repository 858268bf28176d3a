"""How much of a call is compared with rules before it is refused.

Each thing that a call does is compared with each rule, in the process that serves all chats. A person can
have thousands of patterns, and a model chooses how many paths and words a command has, so the product needs a
bound. It counts what comparisons cost, all of them and not those up to the first match, so that the order of
the rules does not matter. A call that reaches it is refused, so that one more rule that asks or denies never
makes more possible.
"""

MAX_EFFORT = 400_000
"""Steps of one decision. A step takes about a quarter of a microsecond."""


class TooMuchToCompareError(Exception):
    """A call does too much to be compared with all rules."""


class Effort:
    """What is left of the steps of one decision."""

    def __init__(self, steps: int = MAX_EFFORT) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Count steps.

        Raises:
            TooMuchToCompareError: too many were made.
        """
        self.left -= steps
        if self.left < 0:
            raise TooMuchToCompareError
