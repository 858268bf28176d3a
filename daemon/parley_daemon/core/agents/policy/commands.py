"""What is known of programs: which run other commands, which can run anything, which are the same in kind.

Theory of operation. A simple command is a list of words. Some programs only run the command in their words:
they are unwrapped, so that a rule for `git push` also matches `timeout 9 git push`. A program that can run
whatever its words or its input say (a shell, an interpreter) is never offered for "always". A rule that
allows a command allows all that begins with its words; so for some programs there are options that no such
rule covers, since with them the program runs or writes something else.
"""

from functools import lru_cache

import msgspec

from parley_daemon.core.agents.policy.effort import Effort
from parley_daemon.core.agents.policy.programs import (
    GUARDED,
    INTERPRETERS,
    LONGER_THAN_GUARDED,
    REMEMBERED,
    RUNNERS,
    RUNNING,
    SUBCOMMAND_RUNNERS,
    WITH_VALUE,
    WITHOUT_VALUE,
)


class SimpleCommand(msgspec.Struct, frozen=True, gc=False):
    """One simple command.

    Attributes:
        words: the program and its arguments, without quotes.
        is_open: more arguments follow that cannot be known (`xargs`).
        is_opaque: it can run something that its words do not name: an interpreter, `sudo`.
        hides_commands: it is opaque, and seems to be given code or commands rather than a file.
        changes_folder: it changes the folder in which the commands after it run.
        inner: the command that it runs, if it only runs another command.
    """

    words: tuple[str, ...]
    is_open: bool = False
    is_opaque: bool = False
    hides_commands: bool = False
    changes_folder: bool = False
    inner: "SimpleCommand | None" = None


def name_of(program: str) -> str:
    """Return the name of a program without its folder."""
    return program.rpartition("/")[2]


def is_interpreter(program: str) -> bool:
    """Return whether a program can run whatever its words or its input say."""
    name = name_of(program)
    return name in INTERPRETERS or name.rstrip("0123456789.-") in INTERPRETERS


def _find_inner(program: str) -> int:
    """Return at which word a command can begin that a program runs; 0: it runs none."""
    name = name_of(program)
    if name in RUNNERS or name.startswith(("ld-", "ld.")):
        return 1
    return 2 if name in SUBCOMMAND_RUNNERS else 0


@lru_cache(1024)
def parse_command(words: tuple[str, ...], *, is_open: bool = False) -> SimpleCommand:
    """Return what is known of a simple command."""
    program = words[0]
    if program == "cd":
        return SimpleCommand(words, is_open=is_open, changes_folder=True)
    if program not in WITH_VALUE:
        if is_interpreter(program):
            return _opaque(words, is_open=is_open)
        return SimpleCommand(
            words,
            is_open=is_open,
            is_opaque=program == "git" and not _subcommand(words),
            hides_commands=_runs_another(words),
        )
    rest = _skip_options(program, words)
    if program == "timeout" and rest:
        rest = rest[1:] if _is_duration(rest[0]) else None
    if not rest or "=" in rest[0] or rest[0].startswith("-"):
        # `env` alone prints the environment. Otherwise it is not clear what runs.
        return SimpleCommand(words) if words == ("env",) else _opaque(words, is_open=is_open)
    inner = parse_command(rest, is_open=is_open or program == "xargs")
    return SimpleCommand(words, is_open=is_open, inner=inner)


def _opaque(words: tuple[str, ...], *, is_open: bool) -> SimpleCommand:
    hides = is_open or len(words) == 1 or (words[1].startswith("-") and words[1] != "-m")
    hides = hides or any(" " in word or "\n" in word for word in words)
    return SimpleCommand(words, is_open=is_open, is_opaque=True, hides_commands=hides)


def _runs_another(words: tuple[str, ...]) -> bool:
    """Return whether a program is told to run another command."""
    program = name_of(words[0])
    if _find_inner(program) and any(" " in word or "\n" in word for word in words[1:]):
        return True
    if program == "git" and any(word.startswith("alias.") for word in words[1:]):
        return True
    running = RUNNING.get(program)
    if running is None:
        return False
    return any(word in running or _is_guarded(word, running, program) for word in words[1:])


def _subcommand(words: tuple[str, ...]) -> str | None:
    """Return the word behind a program, if it is no option."""
    return words[1] if len(words) > 1 and not words[1].startswith("-") else None


def _skip_options(program: str, words: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the words behind the options of a program; None: an option is not known."""
    at = 1
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        if word == "--":
            return words[at + 1 :]
        name, equals, _ = word.partition("=")
        if word in WITH_VALUE[program]:
            at += 2
        elif (
            word in WITHOUT_VALUE[program]
            or (equals and name in WITH_VALUE[program])
            or (program == "nice" and word[1:].isdecimal())
            or (program == "xargs" and word[:2] in ("-n", "-P", "-L") and word[2:].isdecimal())
        ):
            at += 1
        else:
            return None
    return words[at:]


def _is_duration(word: str) -> bool:
    number = word[:-1] if word[-1:] in ("s", "m", "h", "d") else word
    return number.replace(".", "", 1).isdecimal()


def begins_with(command: SimpleCommand, prefix: tuple[str, ...]) -> bool:
    """Return whether an allowing rule of this prefix covers a command, whatever arguments it has.

    It does not if the command has an option with which the program does something else (see GUARDED), or
    may get one that is not known.
    """
    words = command.words
    if words[: len(prefix)] != prefix:
        return False
    program, more = name_of(prefix[0]), words[len(prefix) :]
    if program == "make" and words[:1] != prefix and any(map(_is_target, more)):
        return False
    if words[:2] == ("git", "diff") and any(map(_leads_out, more)):
        return False  # outside of a work tree, git diff compares any two files
    guarded = GUARDED.get(program)
    if guarded is None:
        return True
    if command.is_open:
        return False
    return not any(_is_guarded(word, guarded, program) for word in more)


def _leads_out(word: str) -> bool:
    """Return whether a word may be a path that leads out of the folder."""
    return word.startswith("/") or ".." in word.split("/")


def _is_target(word: str) -> bool:
    """Return whether a word of make is one more target, and not an option or the number behind one."""
    return not word.startswith("-") and not word.isdecimal()


def _is_guarded(word: str, guarded: tuple[str, ...], program: str) -> bool:
    if program == "make" and not word.startswith("-") and guarded is GUARDED["make"]:
        return "=" in word
    if not word.startswith("-") or word in ("-", "--"):
        return False
    if word.startswith("--"):
        name = word.partition("=")[0]
        if name in LONGER_THAN_GUARDED:
            return False
        return any(option.startswith(name) for option in guarded if option.startswith("--"))
    if program in ("find", "go"):  # their options are whole words with one dash
        return word.partition("=")[0].replace("--", "-", 1) in guarded
    # Short options may be joined: -xO
    return any(len(one) == 2 and one[1] in word[1:] for one in guarded)


def find_programs(command: SimpleCommand) -> dict[str, list[int]]:
    """Return the programs that a command may run, in any disguise, with the places of their words.

    The folder of a program does not count, nor does its case, which some systems ignore.
    """
    words = command.words
    inner = 1 if command.hides_commands or is_interpreter(words[0]) else _find_inner(words[0])
    found: dict[str, list[int]] = {}
    for start in [0, *range(inner, len(words))] if inner else [0]:
        found.setdefault(name_of(words[start]).casefold(), []).append(start)
    return found


def may_match(
    command: SimpleCommand, programs: dict[str, list[int]], prefix: tuple[str, ...], effort: Effort
) -> bool:
    """Return whether a denying or asking rule of this prefix is meant by a command, in any disguise.

    `programs` are those that it may run (see `find_programs`). Options before the words of the prefix do not
    count, with their values, nor do programs that run the command that follows them.

    Raises:
        TooMuchToCompareError: see Effort.
    """
    starts = programs.get(name_of(prefix[0]).casefold(), ())
    found = [_matches_loosely(command, start, prefix, effort) for start in starts]
    return any(found)


def _matches_loosely(command: SimpleCommand, start: int, prefix: tuple[str, ...], effort: Effort) -> bool:
    words, is_open = command.words, command.is_open
    effort.spend(1 + (len(words) >> 5))
    if not is_open and any(one not in words for one in prefix[1:]):
        return False
    reached = {start + 1}  # the places from which the rest may go on
    for wanted in prefix[1:]:
        ends: set[int] = set()
        ahead = sorted(reached)
        seen = set(reached)
        effort.spend(4)
        while ahead:
            at = ahead.pop()
            effort.spend(1)
            if at >= len(words):
                if is_open:
                    return True
                continue
            if words[at] == wanted:
                ends.add(at + 1)
            if words[at].startswith("-"):
                for skipped in (at + 1, at + 2):
                    if skipped not in seen:
                        seen.add(skipped)
                        ahead.append(skipped)
        if not ends:
            return False
        reached = ends
    return True


def remembered_prefix(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the words with which a command may be allowed for all arguments; None: only as it is."""
    subcommands = REMEMBERED.get(words[0])
    if subcommands is None:
        return None
    if not subcommands:
        if words[0] != "make":
            return words[:1]
        return words[:2] if len(words) > 1 and not words[1].startswith("-") else None
    if len(words) < 2 or words[1] not in subcommands:
        return None
    if words[1] == "run":
        return words[:3] if len(words) > 2 and not words[2].startswith("-") else None
    return words[:2]
