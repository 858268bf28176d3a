"""MCP servers as records: what somebody has configured, and what people may see of it.

A server is reached by a command or by a URL. Its arguments, its address and the values of its variables and
headers may have references to variables of the daemon's environment: `${NAME}`, or `${NAME:-text}` for a
text that stands in if there is no such variable. They are filled in when the server is started, and never
before, so that no value gets into a record.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from parley_daemon.core.agents.rules import RuleScope

McpState = Literal["configured", "known", "starting", "running", "failed", "untrusted", "needs_auth"]
"""What has become of a server. "known": it does not run, and what it offers is known from an earlier run."""

McpSource = Literal["config", "user", "project"]
"""Where a server is configured: the configuration file, a call of `mcp/add`, or a project's `.mcp.json`."""

HIDDEN = "…"
"""What stands for a secret."""

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS = frozenset("0123456789")
_SECRETS = ("key", "token", "secret", "passw", "auth", "credential", "bearer")


class McpServerRecord(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A server that was added by a call, as it is stored. Times as in Chat.

    Attributes:
        id: of the record; the secrets are stored under it.
        args, url: as they were given, with references.
        env_names, header_names: the names of the variables and headers, whose values are secrets.
        cwd: absolute; None: the folder of the scope, else the home folder.
    """

    id: str
    name: str
    created_at: str
    updated_at: str
    scope: RuleScope = RuleScope()
    command: str | None = None
    args: tuple[str, ...] = ()
    cwd: str | None = None
    url: str | None = None
    env_names: tuple[str, ...] = ()
    header_names: tuple[str, ...] = ()


class McpDefinition(msgspec.Struct, frozen=True, gc=False):
    """A server as somebody has written it, with references. The repr does not contain values.

    Attributes:
        env, headers: the values may be secrets.
        cwd: absolute; None: the home folder.
        trusts_hints: whether it is believed what the server says of its tools, such as that one only reads.
    """

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: Mapping[str, str] = {}
    trusts_hints: bool = False

    def __repr__(self) -> str:
        return f"McpDefinition({self.name!r}, …)"


class UntrustedServer(msgspec.Struct, frozen=True, gc=False):
    """A server of a project that nobody has trusted, as a person decides on it.

    `root` is the URI of the folder, `hash` that of its file, `shown` what would be started, in one line.
    """

    name: str
    root: str
    hash: str
    shown: str


class DefinitionProblem(msgspec.Struct, frozen=True, gc=False):
    """Why a definition makes no sense. `text` continues a sentence that begins with the name of `field`."""

    field: str
    text: str


def find_problem(definition: McpDefinition) -> DefinitionProblem | None:
    """Return what is wrong with a definition; None: nothing. Texts are not repeated: they may be secrets."""
    if not is_server_name(definition.name):
        return DefinitionProblem("name", f"must be {NAME_RULE}")
    if definition.command is None and definition.url is None:
        return DefinitionProblem("command", "is missing; give a command to start, or a url")
    if definition.command is not None and definition.url is not None:
        return DefinitionProblem("url", "cannot be given beside command")
    return _find_problem_of_command(definition) or _find_problem_of_url(definition)


def _find_problem_of_command(definition: McpDefinition) -> DefinitionProblem | None:
    if definition.command is None:
        for field, value in (("args", definition.args), ("env", definition.env), ("cwd", definition.cwd)):
            if value:
                return DefinitionProblem(field, "needs a command")
        return None
    if not definition.command.strip() or "\0" in definition.command:
        return DefinitionProblem("command", "must be the name or the path of a program")
    if any("\0" in arg for arg in definition.args):
        return DefinitionProblem("args", "must not contain the character NUL")
    for name, value in definition.env.items():
        if not _is_variable(name):
            return DefinitionProblem("env", 'has a name that is none: use letters, digits and "_"')
        if "\0" in value:
            return DefinitionProblem("env", f"has a value of {name} that contains the character NUL")
    if definition.cwd is not None and (not definition.cwd.startswith(("/", "${")) or "\0" in definition.cwd):
        return DefinitionProblem("cwd", "must be the absolute path of a folder")
    return None


def _find_problem_of_url(definition: McpDefinition) -> DefinitionProblem | None:
    url = definition.url
    if url is None:
        return DefinitionProblem("headers", "needs a url") if definition.headers else None
    scheme, _, rest = url.partition("://")
    host = rest.split("/", 1)[0].split("?", 1)[0].rpartition("@")[2]
    if not url.startswith("${") and (scheme.lower() not in ("http", "https") or not host):
        return DefinitionProblem("url", "must begin with http:// or https:// and a host")
    if not url.isprintable() or any(sign in url for sign in ' "<>\\^`|'):
        return DefinitionProblem("url", "has a character that has to be encoded")
    for name, value in definition.headers.items():
        if not name or not set(name) <= _LETTERS | _DIGITS | {"-", "_"}:
            return DefinitionProblem("headers", 'has a name that is none: use letters, digits, "-" and "_"')
        if any(ord(sign) < 32 or ord(sign) == 127 for sign in value):
            return DefinitionProblem("headers", f"has a value of {name} that is not one line of text")
    return None


NAME_RULE = '1 to 64 letters, digits and ".", "_", "-" that begin with a letter or digit'


def is_server_name(name: str) -> bool:
    """Return whether servers can have this name."""
    if not 1 <= len(name) <= 64 or name[0] not in _LETTERS | _DIGITS:
        return False
    return all(sign in _LETTERS or sign in _DIGITS or sign in "._-" for sign in name)


def _is_variable(name: str) -> bool:
    if not name or name[0] in _DIGITS:
        return False
    return all(sign in _LETTERS or sign in _DIGITS or sign == "_" for sign in name)


class UnknownVariableError(Exception):
    """A reference names a variable that there is not, or that may not be used. `name`: which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def expand(text: str, variables: Callable[[str], str | None]) -> str:
    """Return a text with its references filled in. `variables` returns None for one that there is not.

    What looks like a reference and is none, such as `${1}`, stays. What is filled in is not looked through.

    Raises:
        UnknownVariableError: there is no such variable, and no text that stands in.
    """
    parts: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        end = text.find("}", start)
        if end < 0:
            break
        name, has_default, default = text[start + 2 : end].partition(":-")
        if not _is_variable(name):
            parts.append(text[at : start + 2])
            at = start + 2
            continue
        value = variables(name)
        if value is None and not has_default:
            raise UnknownVariableError(name)
        parts += [text[at:start], default if value is None else value]
        at = end + 1
    return "".join([*parts, text[at:]])


def describe_start(definition: McpDefinition) -> str:
    """Return what a definition starts or reaches, in one line, without the values of what is probably secret.

    Values that do not seem secret are shown: a variable can change what a program does, too.
    """
    if definition.url is not None:
        headers = f" with the headers {', '.join(definition.headers)}" if definition.headers else ""
        return _one_line(f"{definition.name}: {definition.url}{headers}")
    env = [f"{name}={HIDDEN if _names_secret(name) else value}" for name, value in definition.env.items()]
    words = [*env, definition.command or "", *definition.args]
    cwd = f" (in {definition.cwd})" if definition.cwd else ""
    return _one_line(f"{definition.name}: {' '.join([_quote(word) for word in words])}{cwd}")


def _quote(word: str) -> str:
    is_plain = word and all(sign in _LETTERS or sign in _DIGITS or sign in "@%+=:,./-_" for sign in word)
    return word if is_plain else "'" + word.replace("'", "'\\''") + "'"


def _one_line(text: str) -> str:
    """Return a text with codes for line ends and for what is invisible, or reorders text."""
    return "".join([sign if sign.isprintable() else f"<U+{ord(sign):04X}>" for sign in text])


def describe_args(args: Sequence[str]) -> tuple[str, ...]:
    """Return arguments as people may see them: without what follows `--api-key` or `Authorization:`."""
    shown: list[str] = []
    is_secret = False
    for arg in args:
        name, equals, value = arg.partition("=")
        if is_secret and not arg.startswith("-"):
            shown.append(HIDDEN)
            is_secret = False
            continue
        is_secret = arg.startswith("-") and not equals and _names_secret(name)
        header, colon, _ = arg.partition(":")
        if colon and not arg.startswith("-") and _is_header(header) and _names_secret(header):
            arg = f"{header}: {HIDDEN}"
        elif "://" in arg:
            arg = describe_url(arg)
        elif value and _names_secret(name):
            arg = f"{name}={HIDDEN}"
        shown.append(arg)
    return tuple(shown)


def _is_header(text: str) -> bool:
    return bool(text) and _LETTERS | _DIGITS | {"-", "_"} >= set(text)


def describe_url(url: str) -> str:
    """Return a URL as people may see it: without user, query and fragment."""
    scheme, separator, rest = url.partition("://")
    rest = rest.split("#", 1)[0].split("?", 1)[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _names_secret(name: str) -> bool:
    if len(name) > 100:  # more than a name
        return False
    small = name.lower()
    return any(one in small for one in _SECRETS)
