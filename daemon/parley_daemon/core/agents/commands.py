"""What is known of programs: which run other commands, which can run anything, which are the same in kind.

Theory of operation. A simple command is a list of words. Some programs only run the command in their words:
they are unwrapped, so that a rule for `git push` also matches `timeout 9 git push`. A program that can run
whatever its words or its input say (a shell, an interpreter) is never offered for "always". A rule that
allows a command allows all that begins with its words; so for some programs there are options that no such
rule covers, since with them the program runs or writes something else.
"""

from functools import lru_cache
from typing import Final

import msgspec

from parley_daemon.core.agents.shell import words_of


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


_INTERPRETERS: Final = words_of(
    # shells, and what runs a command in another place or as somebody else
    "sh bash dash zsh fish ksh mksh csh tcsh ash rbash busybox toybox pwsh powershell nu xonsh",
    "sudo doas su pkexec run0 runuser setpriv chroot unshare nsenter bwrap firejail systemd-run machinectl",
    "command env nohup nice timeout xargs setsid stdbuf ionice chrt taskset time watch script expect",
    "unbuffer parallel flock strace ltrace gdb lldb valgrind perf ssh sshpass mosh docker podman nerdctl",
    "kubectl lxc tmux screen at batch crontab entr rlwrap dbus-run-session xvfb-run proot fakeroot",
    # interpreters and editors, which run the code that they are given
    "python pypy ipython node nodejs deno bun tsx ts-node ruby irb perl php lua luajit awk gawk mawk nawk",
    "sed tclsh wish osascript Rscript R julia ghci runghc scala groovy elixir iex erl escript clojure sbcl",
    "guile racket ocaml swift java jshell dotnet go-run m4 dc bc",
    "ed ex vi vim nvim view emacs nano less more man sqlite3 psql mysql mongosh redis-cli ftp gnuplot octave",
    # what fetches a program and runs it
    "npx pnpx bunx uvx pipx dlx",
)

_WITH_VALUE: Final = {
    "timeout": frozenset({"-k", "--kill-after", "-s", "--signal"}),
    "nice": frozenset({"-n", "--adjustment"}),
    "xargs": frozenset(
        {"-n", "--max-args", "-P", "--max-procs", "-L", "--max-lines", "-d", "--delimiter", "-s"}
    ),
    "env": frozenset({"-u", "--unset"}),
    "nohup": frozenset[str](),
}
"""Options whose value is the next word, by program. The programs are those that are unwrapped."""

_WITHOUT_VALUE: Final = {
    "timeout": frozenset({"--foreground", "--preserve-status", "-v", "--verbose", "-p", "-f"}),
    "nice": frozenset[str](),
    "xargs": frozenset({"-0", "--null", "-r", "--no-run-if-empty", "-t", "--verbose", "-x", "--exit"}),
    "env": frozenset({"-i", "-", "--ignore-environment"}),
    "nohup": frozenset[str](),
}

_GUARDED: Final[dict[str, tuple[str, ...]]] = {
    "git": (
        *("-c", "-C", "--config-env", "--exec-path", "--git-dir", "--work-tree", "--namespace"),
        *(
            "--output",
            "-O",
            "--open-files-in-pager",
            "--ext-diff",
            "--textconv",
            "--no-index",
            "--upload-pack",
        ),
        *("--receive-pack", "--exec", "-x", "--template", "--config", "--extcmd", "--run"),
    ),
    "find": ("-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre", "--hostname-bin", "-z", "--search-zip"),
    "grep": ("--devices",),
    "sort": ("-o", "--output", "--compress-program", "-T", "--temporary-directory"),
    "tar": (
        *("-I", "--use-compress-program", "--to-command", "--checkpoint-action", "-F", "--info-script"),
        *("--new-volume-script", "--rsh-command", "--rmt-command"),
    ),
    "make": ("-f", "--file", "--makefile", "-C", "--directory", "--eval", "-E", "-I", "--include-dir"),
    "cargo": ("--config", "-Z", "--manifest-path", "-C"),
    "go": ("-exec", "-toolexec", "-o", "-overlay", "-C", "-vettool", "-modfile"),
    "pytest": (
        *("-p", "-c", "--config-file", "--rootdir", "--confcutdir", "-o", "--override-ini", "--basetemp"),
        "--pastebin",
    ),
    "ruff": ("--config", "-o", "--output-file"),
    "mypy": ("--config-file", "--python-executable", "--custom-typing-module", "--install-types"),
    "pyright": ("-p", "--project", "--pythonpath", "--venvpath", "--venv-path"),
    "npm": ("--prefix", "-C", "--script-shell", "--globalconfig", "--userconfig"),
    "pnpm": ("--prefix", "-C", "--dir", "--script-shell", "--shell-emulator"),
    "yarn": ("--cwd", "--use-yarnrc", "--script-shell"),
}
"""Options with which a program runs or writes something else, or does so elsewhere."""

_RUNNING: Final[dict[str, tuple[str, ...]]] = {
    "git": (
        *(
            "-c",
            "--config-env",
            "--exec-path",
            "-O",
            "--open-files-in-pager",
            "--upload-pack",
            "--receive-pack",
        ),
        *("--exec", "-x", "--extcmd", "--config", "foreach", "run", "filter-branch", "difftool", "mergetool"),
    ),
    "find": ("-exec", "-execdir", "-ok", "-okdir"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "rg": ("--pre",),
    "sort": ("--compress-program",),
    "tar": (
        *("-I", "--use-compress-program", "--to-command", "--checkpoint-action", "-F", "--info-script"),
        *("--new-volume-script", "--rsh-command", "--rmt-command"),
    ),
    "make": ("--eval",),
    "go": ("-exec", "-toolexec"),
    "npm": ("--script-shell",),
}
"""Options and words with which a program runs another command, which cannot be seen for certain."""

_LONGER_THAN_GUARDED: Final = frozenset({"--text", "--exclude", "--exit-code"})
"""Options of their own, although a guarded option begins like them."""

REMEMBERED: Final[dict[str, frozenset[str]]] = {
    "git": words_of("status diff log show blame ls-files ls-tree rev-parse describe shortlog add commit"),
    "npm": frozenset({"test", "run"}),
    "pnpm": frozenset({"test", "run"}),
    "yarn": frozenset({"test", "run"}),
    "cargo": words_of("build check test clippy fmt"),
    "go": words_of("build test vet fmt"),
    "make": frozenset(),
    "ruff": frozenset({"check", "format"}),
    "pytest": frozenset(),
    "mypy": frozenset(),
    "pyright": frozenset(),
    "ls": frozenset(),
}
"""Programs that do the same in kind with other arguments, with those of their subcommands for which that is
so. An empty set: the program itself.
"""


def name_of(program: str) -> str:
    """Return the name of a program without its folder."""
    return program.rpartition("/")[2]


def is_interpreter(program: str) -> bool:
    """Return whether a program can run whatever its words or its input say."""
    name = name_of(program)
    return name in _INTERPRETERS or name.rstrip("0123456789.-") in _INTERPRETERS


@lru_cache(1024)
def parse_command(words: tuple[str, ...], *, is_open: bool = False) -> SimpleCommand:
    """Return what is known of a simple command."""
    program = words[0]
    if program == "cd":
        return SimpleCommand(words, is_open=is_open, changes_folder=True)
    if program not in _WITH_VALUE:
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
    running = _RUNNING.get(program)
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
        if word in _WITH_VALUE[program]:
            at += 2
        elif (
            word in _WITHOUT_VALUE[program]
            or (equals and name in _WITH_VALUE[program])
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

    It does not if the command has an option with which the program does something else (see _GUARDED), or
    may get one that is not known.
    """
    words = command.words
    if words[: len(prefix)] != prefix:
        return False
    guarded = _GUARDED.get(name_of(prefix[0]))
    if guarded is None:
        return True
    if command.is_open:
        return False
    return not any(_is_guarded(word, guarded, name_of(prefix[0])) for word in words[len(prefix) :])


def _is_guarded(word: str, guarded: tuple[str, ...], program: str) -> bool:
    if program == "make" and not word.startswith("-") and guarded is _GUARDED["make"]:
        return "=" in word
    if not word.startswith("-") or word in ("-", "--"):
        return False
    if word.startswith("--"):
        name = word.partition("=")[0]
        if name in _LONGER_THAN_GUARDED:
            return False
        return any(option.startswith(name) for option in guarded if option.startswith("--"))
    if program in ("find", "go"):  # their options are whole words with one dash
        return word.partition("=")[0].replace("--", "-", 1) in guarded
    # Short options may be joined: -xO
    return any(len(one) == 2 and one[1] in word[1:] for one in guarded)


def may_match(command: SimpleCommand, prefix: tuple[str, ...]) -> bool:
    """Return whether a denying or asking rule of this prefix is meant by a command, in any disguise.

    The folder of the program does not count, nor do options before the words of the prefix, with their
    values, nor programs that run the command that follows them.
    """
    words = command.words
    starts = range(len(words)) if command.hides_commands or is_interpreter(words[0]) else range(1)
    return any(_matches_loosely(words, start, prefix, is_open=command.is_open) for start in starts)


def _matches_loosely(words: tuple[str, ...], start: int, prefix: tuple[str, ...], *, is_open: bool) -> bool:
    if name_of(words[start]) != name_of(prefix[0]):
        return False
    reached = {start + 1}  # the places from which the rest may go on
    for wanted in prefix[1:]:
        ends: set[int] = set()
        ahead = sorted(reached)
        seen = set(reached)
        while ahead:
            at = ahead.pop()
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
