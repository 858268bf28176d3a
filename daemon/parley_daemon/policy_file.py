"""Reads permission rules from TOML: those of the configuration file, and the file of a project.

Both have tables `[[permissions]]`. A rule that makes no sense, or whose examples fail, is an error of the
file in the line of the rule.
"""

import tomllib
from codecs import BOM_UTF8
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from parley_daemon.config_problems import describe_invalid_setting, describe_syntax_error, find_line
from parley_daemon.core.agents.globs import path_of_uri, uri_of_path
from parley_daemon.core.agents.rules import Rule, RuleScope
from parley_daemon.ports.projects import ParsedRules

MAX_RULES = 500
"""Rules of one file."""

MAX_PATTERNS = 500
"""Patterns of paths and hosts of one file. Each call is compared with all of them."""

MAX_EXAMPLES = 100
"""Examples of one rule, each of which is compared with the rule's patterns."""

MAX_PROJECT_BYTES = 64 * 1024
MAX_DOTS = 200
"""Dots in one line of a project's file: for a key, the parser needs time and memory by their square."""

MAX_SIGNS = 50
"""Patterns with "?" in one file: they take the longest to compare."""


class RuleTable(msgspec.Struct, forbid_unknown_fields=True):
    """A rule as it is written."""

    effect: Literal["allow", "ask", "deny"]
    """What the rule says: "allow", "ask" or "deny". The strictest of all rules that match wins."""
    tool: str = "*"
    """The tools that it is about: a name or a glob such as "edit_*"."""
    command: str | None = None
    """The beginning of a shell command, such as "git status"; more arguments may follow."""
    exact: bool = False
    """Whether `command` is the whole command."""
    paths: list[str] | None = None
    """Globs of the paths that it is about. One that is not absolute is below the folders of the chat."""
    hosts: list[str] | None = None
    """Globs of the hosts that it is about."""
    network: Literal["loopback", "all"] | None = None
    """What the command reaches where the sandbox gives less: "loopback" or "all". Needs the tool "run"."""
    human: bool = False
    """Whether only a person may allow what the rule asks about, in every mode. Needs effect "ask"."""
    root: str | None = None
    """The folder below which the rule counts; absent: everywhere. A project's rules count in the project."""
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """Until when the rule counts, with a time zone; absent: for good."""
    match: list[str] = []
    """Examples that the rule has to match, which are tested when the file is read."""
    not_match: list[str] = []
    """Examples that the rule must not match."""


class RulesFile(msgspec.Struct, forbid_unknown_fields=True):
    """The file of a project as it is written."""

    permissions: list[RuleTable] = []


class InvalidRuleError(Exception):
    """A rule is invalid. `path` is that of the setting in the file."""

    def __init__(self, path: Sequence[str | int], problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


def parse_project_rules(content: bytes, path: str) -> ParsedRules:
    """Read the rules of a project's file. Implements ParseRules."""
    try:
        text = content.removeprefix(BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return ParsedRules((), f"{path}, line {line}: the file is not UTF-8.")
    if len(content) > MAX_PROJECT_BYTES:
        return ParsedRules((), f"{path} is larger than {MAX_PROJECT_BYTES // 1024} KiB.")
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MAX_DOTS:
            return ParsedRules((), f"{path}, line {number}: the line has more than {MAX_DOTS:,} dots.")
    try:
        tables = msgspec.convert(tomllib.loads(text), RulesFile).permissions
        return ParsedRules(make_rules(tables, "project"))
    except tomllib.TOMLDecodeError as error:
        return ParsedRules((), f"{path}{describe_syntax_error(str(error))}")
    except msgspec.ValidationError:
        return ParsedRules((), f"{path}{describe_invalid_setting(text, RulesFile)}")
    except InvalidRuleError as error:
        return ParsedRules((), f"{path}{find_line(text, error.path)}: {error.problem}.")
    except RecursionError:
        return ParsedRules((), f"{path} is nested too deep.")
    except ValueError:  # of the parser: a number with thousands of digits
        return ParsedRules((), f"{path} has a value that cannot be read.")


def make_rules(tables: Sequence[RuleTable], source: Literal["config", "project"]) -> tuple[Rule, ...]:
    """Return the rules of the tables of a file.

    Raises:
        InvalidRuleError: one of them makes no sense, or its examples fail.
    """
    if not tables:
        return ()
    from parley_daemon.core.agents.policy.rule_checks import check_rule  # few files have rules

    if len(tables) > MAX_RULES:
        raise InvalidRuleError(["permissions", MAX_RULES], f"a file can have {MAX_RULES} rules")
    patterns = [one for table in tables for one in (table.tool, *(table.paths or ()), *(table.hosts or ()))]
    if sum("?" in one for one in patterns) > MAX_SIGNS:
        raise InvalidRuleError(["permissions"], f'a file can have {MAX_SIGNS} patterns with "?"; use "*"')
    if len(patterns) - len(tables) > MAX_PATTERNS:
        raise InvalidRuleError(["permissions"], f"a file can have {MAX_PATTERNS} patterns of paths and hosts")
    rules: list[Rule] = []
    for index, table in enumerate(tables):
        path: list[str | int] = ["permissions", index]
        if len(table.match) + len(table.not_match) > MAX_EXAMPLES:
            raise InvalidRuleError(path, f"rule {index + 1} has more than {MAX_EXAMPLES} examples")
        rule = Rule(
            f"{source}:{index + 1}",
            table.effect,
            table.tool,
            command=table.command,
            paths=None if table.paths is None else tuple(table.paths),
            hosts=None if table.hosts is None else tuple(table.hosts),
            human=table.human,
            scope=_find_scope(table.root, source, path),
            expires_at=None if table.expires_at is None else _to_utc(table.expires_at, path),
            match=tuple(table.match),
            not_match=tuple(table.not_match),
            source=source,
            exact=table.exact,
            network=table.network,
        )
        problem = check_rule(rule)
        if problem is not None:
            where = [problem.field] if problem.index is None else [problem.field, problem.index]
            raise InvalidRuleError([*path, *where], f"{problem.field} of rule {index + 1} {problem.text}")
        rules.append(rule)
    return tuple(rules)


def _find_scope(root: str | None, source: str, path: Sequence[str | int]) -> RuleScope:
    if root is None:
        return RuleScope()
    if source == "project":
        raise InvalidRuleError([*path, "root"], "a project's rules count in the project; leave root out")
    named = path_of_uri(root) or root
    folder = Path(named).expanduser()
    if not folder.is_absolute() or "\0" in named:
        raise InvalidRuleError([*path, "root"], "root must be an absolute path of a folder")
    return RuleScope(root=uri_of_path(str(folder.resolve())))


def _to_utc(time: datetime, path: Sequence[str | int]) -> str:
    try:
        moment = time.astimezone(UTC)
    except OverflowError:
        raise InvalidRuleError(
            [*path, "expires_at"], "expires_at is not a time of the years 1 to 9999"
        ) from None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def rules_of_broken_file(text: str, complaint: str) -> ParsedRules:
    """Return what counts while the configuration file cannot be read.

    If it seems to have rules, everything is asked about: one of them may deny something.
    """
    if "permissions" not in text:
        return ParsedRules((), complaint)
    return ParsedRules((Rule("config:unreadable", "ask", "*", source="config"),), complaint)
