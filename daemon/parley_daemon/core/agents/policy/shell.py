"""A strict reader of shell commands: which simple commands a script runs, or that this cannot be said.

Theory of operation. The reader knows simple commands of plain words, quotes, and what joins commands: `&&`,
`||`, `;`, `|` and line ends. A script that has anything else has a `problem`, and no list of commands. It
need not know what bash would do with the rest; it must only never take it for something else. So each
character outside of quotes is refused unless it is known to stand for itself in every shell:

- nothing is expanded: no `$`, backquote, glob, brace, tilde, history mark, backslash outside of quotes;
- no word before a command can change what it means: no assignment, reserved word, function, comment;
- only redirections that write nowhere: to and from /dev/null, and 2>&1, 1>&2;
- characters that look like others, or direct how others are shown, are refused: control characters, carriage
  return, spaces of Unicode, and outside of quotes everything that is not ASCII;
- built-in commands that change how later commands are understood, or evaluate their arguments (`alias`,
  `eval`, `export`, `hash`, `printf -v`), make the whole script one that cannot be read.

Commands that run another command (`env`, `timeout`, `xargs`, `nohup`, `nice`) are listed with the one that
they run (see `commands`).
"""

from typing import Final

import msgspec

from parley_daemon.core.agents.visibility import is_visible

MAX_LENGTH = 16_384
"""Characters of a script that is read."""

MAX_COMMANDS = 50
"""Simple commands of a script that is read."""

MAX_WORDS = 400
"""Words of all simple commands of a script that is read: each is compared with the rules about paths."""


def words_of(*lines: str) -> frozenset[str]:
    """Return the words of some lines."""
    return frozenset(" ".join(lines).split())


_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,:@%+")
_INSIDE_WORDS: Final = frozenset("~^#=")
"""They stand for themselves, but not at the beginning of a word."""

_BEHIND_WORDS: Final = frozenset(" \t\n;|&")
_RESERVED: Final = words_of(
    "if then elif else fi case esac for select while until do done in function time coproc { } ! [[ ]]"
)
_STATEFUL: Final = words_of(
    ". alias bg bind builtin caller command compgen complete compopt declare dirs disown enable eval exec",
    "export fc fg getopts hash history jobs let local logout mapfile popd pushd read readarray readonly",
    "set shift shopt source suspend trap typeset unalias unset",
)
"""Built-in commands that change how later commands are understood, evaluate arguments, or run other ones."""

_EVALUATING: Final = {"printf": ("-v",), "test": ("-v", "-R"), "wait": ("-p",)}
"""Options of built-in commands whose argument is evaluated as an expression, which may run a command."""


class Script(msgspec.Struct, frozen=True, gc=False):
    """What a script runs. `problem`: why that cannot be said, as the end of a sentence; None: it can.

    `commands` are the words of each simple command, empty if there is a problem.
    """

    commands: tuple[tuple[str, ...], ...]
    problem: str | None = None


class _UnreadableError(Exception):
    """The script cannot be read; the message says why."""


def read_script(text: str) -> Script:
    """Read a script."""
    if len(text) > MAX_LENGTH:
        return Script((), "it is too long")
    try:
        commands = _Reader(text).read()
        if not commands:
            raise _UnreadableError("it runs nothing")
        if len(commands) > MAX_COMMANDS or sum(map(len, commands)) > MAX_WORDS:
            raise _UnreadableError("it runs too many commands")
        for words in commands:
            _refuse_builtin(words)
    except _UnreadableError as error:
        return Script((), str(error))
    return Script(tuple(commands))


def quote_words(words: tuple[str, ...]) -> str:
    """Return words as the text that the reader reads back as them, if it can read them at all."""
    return " ".join([_quote(word) for word in words])


def _quote(word: str) -> str:
    if word and all(sign in _PLAIN for sign in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def _refuse_builtin(words: tuple[str, ...]) -> None:
    program = words[0]
    if program in _STATEFUL:
        raise _UnreadableError(f"{program} can change what other commands do")
    for option in _EVALUATING.get(program, ()):
        if any(word.startswith(option) for word in words[1:]):
            raise _UnreadableError(f"{program} {option} can run what its argument says")


class _Reader:
    """One pass over a script, character by character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> list[tuple[str, ...]]:
        """Return the words of all simple commands."""
        commands: list[tuple[str, ...]] = []
        needs_command = False  # behind && || |
        while True:
            words = self._command()
            joint = self._joint()
            if words:
                commands.append(words)
            elif needs_command and joint != "\n":
                raise _UnreadableError(f"a command is missing before its {joint or 'end'}")
            elif joint not in ("", "\n"):
                raise _UnreadableError(f"there is no command before {joint}")
            if not joint:
                return commands
            if words or joint != "\n":  # an empty line behind an operator does not end the wait for a command
                needs_command = joint in ("&&", "||", "|")

    def _command(self) -> tuple[str, ...]:
        words: list[str] = []
        redirected = False
        while True:
            self._skip_blanks()
            if self._redirection(""):
                redirected = True
                continue
            word = self._word(is_first=not words)
            if word is None:
                if redirected and not words:
                    raise _UnreadableError("it has a redirection without a command")
                return tuple(words)
            if word.isdecimal() and self._peek() in ("<", ">") and self._text[self._at - 1] == word[-1]:
                self._redirection(word)
                redirected = True
                continue
            words.append(word)

    def _joint(self) -> str:
        """Return what ends a command: an operator, a line end, or the end of the script."""
        rest = self._text[self._at : self._at + 2]
        if not rest:
            return ""
        joint = rest if rest in ("&&", "||") else rest[0]
        if joint == "&":
            raise _UnreadableError("it runs a command in the background (&)")
        if rest in ("|&", ";;", ";&"):
            raise _UnreadableError(f"it uses {rest}")
        self._at += len(joint)
        return joint

    def _redirection(self, number: str) -> bool:
        """Skip a redirection that writes nowhere. Return whether there is one."""
        sign = self._peek()
        if sign not in ("<", ">"):
            return False
        rest = self._text[self._at + 1 :]
        if sign == ">" and number in ("", "1", "2"):
            if rest.startswith("&"):
                target, length = rest[1:2], 2
                if target in ("1", "2"):
                    return self._skip_redirection(1 + length)
            rest_of_append = rest.removeprefix(">")
            path = rest_of_append.lstrip(" \t")
            if path.startswith("/dev/null"):
                return self._skip_redirection(1 + len(rest) - len(path) + len("/dev/null"))
        elif sign == "<" and number in ("", "0"):
            path = rest.lstrip(" \t")
            if path.startswith("/dev/null"):
                return self._skip_redirection(1 + len(rest) - len(path) + len("/dev/null"))
        raise _UnreadableError("it redirects input or output")

    def _skip_redirection(self, length: int) -> bool:
        self._at += length
        if self._peek() not in _BEHIND_WORDS and self._peek():
            raise _UnreadableError("it redirects input or output")
        return True

    def _word(self, *, is_first: bool) -> str | None:
        """Return the next word without its quotes, None if the command ends here."""
        start = self._at
        pieces: list[str] = []
        is_quoted = False
        while (sign := self._peek()) and sign not in _BEHIND_WORDS and sign not in "<>":
            begins = self._at == start or (sign == "~" and self._text[self._at - 1] in "=:")
            if sign in _PLAIN or (sign in _INSIDE_WORDS and not begins):
                pieces.append(sign)
                self._at += 1
            elif sign == "'":
                pieces.append(self._single_quoted())
                is_quoted = True
            elif sign == '"':
                pieces.append(self._double_quoted())
                is_quoted = True
            else:
                raise _UnreadableError(f"it has {_name(sign)} outside of quotes")
        if self._at == start:
            return None
        word = "".join(pieces)
        if is_quoted and self._peek() in ("<", ">") and word.isdecimal():
            raise _UnreadableError("it redirects input or output")
        if is_first:
            self._check_program(word)
        return word

    def _check_program(self, word: str) -> None:
        if not word or not word.strip():
            raise _UnreadableError("the name of a command is empty")
        if "=" in word:
            raise _UnreadableError("it sets a variable")
        if word in _RESERVED:
            raise _UnreadableError(f"it uses the shell's word {word}")
        if word[0] in "%-+" or any(sign in word for sign in " \t\n"):
            raise _UnreadableError("the name of a command is unusual")

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _UnreadableError("a quote is not closed")
        content = self._text[self._at + 1 : end]
        for sign in content:
            _refuse_invisible(sign)
        self._at = end + 1
        return content

    def _double_quoted(self) -> str:
        pieces: list[str] = []
        self._at += 1
        while (sign := self._peek()) != '"':
            if not sign:
                raise _UnreadableError("a quote is not closed")
            if sign in "$`!":
                raise _UnreadableError(f"it has {_name(sign)} in double quotes")
            if sign == "\\":
                following = self._text[self._at + 1 : self._at + 2]
                if following in ("", "\n", "!"):
                    raise _UnreadableError("it has a backslash at the end of a line")
                self._at += 1
                pieces.append(following if following in '$`"\\' else sign)
                if following in '$`"\\':
                    self._at += 1
                continue
            _refuse_invisible(sign)
            pieces.append(sign)
            self._at += 1
        self._at += 1
        return "".join(pieces)

    def _skip_blanks(self) -> None:
        while self._peek() in (" ", "\t"):
            self._at += 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]


def _refuse_invisible(sign: str) -> None:
    if not is_visible(sign) and sign not in "\n\t":
        raise _UnreadableError(f"it has {_name(sign)}")


def _name(sign: str) -> str:
    names = {"\r": "a carriage return", "\0": "a NUL character", "\\": "a backslash", "`": "a backquote"}
    if sign in names:
        return names[sign]
    return sign if sign.isascii() and sign.isprintable() else f"the character U+{ord(sign):04X}"
