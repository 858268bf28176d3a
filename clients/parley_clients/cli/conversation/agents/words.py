"""The words of an argument of a command."""

import shlex

from parley_clients.cli.errors import UsageError


def split_words(argument: str) -> list[str]:
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise UsageError(f"The words are not clear: {error}.") from None
