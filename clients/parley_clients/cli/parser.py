"""The argument parser of `parley`: options and other words may stand in any order.

Theory of operation. argparse assigns all arguments at the first of them, before it has seen those behind the
next option: it refuses `x` in `edit ID --message 2 x`. A command's words are therefore put in order first:
the options with their values, then `--`, then the rest. Words keep the meaning that argparse gives them.
"""

import argparse
import re
from collections.abc import Sequence

_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")


class Parser(argparse.ArgumentParser):
    """The parser of the command line and of each command."""

    @property
    def actions(self) -> list[argparse.Action]:
        """All options and arguments, in the order of the help, for the completion of shells."""
        return self._actions

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] - the overloads differ in types only
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse words; those of a command in any order."""
        names_a_command = any(action.nargs == argparse.PARSER for action in self.actions)
        words = args if args is None or names_a_command else self._in_order(args)
        return super().parse_known_args(words, namespace or argparse.Namespace())

    def _in_order(self, words: Sequence[str]) -> list[str]:
        """Return the options with their values, then `--` and the other words, if there are any."""
        options: list[str] = []
        others: list[str] = []
        rest = iter(words)
        takes_value = False
        last = ""
        for word in rest:
            self._check_separate_value(last, word)
            last = word
            if word == "--":
                others += rest
            elif _is_option(word):
                options.append(self._with_default_value(word))
                takes_value = self._needs_next_word(word)
            else:
                (options if takes_value else others).append(word)
                takes_value = False
        return [*options, "--", *others] if others else options

    def _check_separate_value(self, option: str, word: str) -> None:
        """Refuse a value behind an option that needs it after =: it would be part of a text."""
        action = self._option_string_actions.get(option)
        if action is not None and action.nargs == "?" and word in (action.choices or ()):
            self.error(f"write {option}={word}")

    def _with_default_value(self, word: str) -> str:
        """Return an option whose value may be left out with the value that it then has.

        argparse would take the next word for the value, which is the text of a question.
        """
        action = self._option_string_actions.get(word)
        return f"{word}={action.const}" if action is not None and action.nargs == "?" else word

    def _needs_next_word(self, word: str) -> bool:
        """Return whether the value of an option is the word after it."""
        if word.startswith("--"):
            found = [
                action
                for action in self.actions
                for option in action.option_strings
                if option == word or (option.startswith(word) and word not in self._option_string_actions)
            ]
            return any(action.nargs not in (0, "?") for action in found)
        for position, letter in enumerate(word[1:], start=2):
            action = self._option_string_actions.get(f"-{letter}")
            if action is None or action.nargs != 0:
                return action is not None and position == len(word)
        return False


def _is_option(word: str) -> bool:
    """Return whether argparse takes a word for an option: not `-`, `-1` or a text such as `- one`."""
    return len(word) > 1 and word[0] == "-" and " " not in word and not _NEGATIVE_NUMBER.fullmatch(word)
