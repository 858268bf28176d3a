"""Rules in TOML: what is read, and what is wrong in which line."""

from pathlib import Path

from parley_daemon.config import load_config
from parley_daemon.core.agents.rules import Rule, RuleScope
from parley_daemon.policy_file import (
    MAX_EXAMPLES,
    MAX_PATTERNS,
    MAX_PROJECT_BYTES,
    parse_project_rules,
)

RULES = """\
default_model = "demo:demo"

[[permissions]]
effect = "allow"
tool = "run"
command = "git status"
match = ["git status --short"]
not_match = ["git push", "git status && rm x"]

[[permissions]]
effect = "ask"
human = true
paths = ["~/.ssh", "*.pem"]
root = "/srv"
expires_at = 2030-01-01T01:00:00+01:00

[[permissions]]
effect = "ask"
tool = "run"
command = "npm ci"
network = "all"
"""


def test_the_rules_of_the_configuration_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(RULES, "utf-8")
    config = load_config(path)
    assert config.complaint is None
    assert config.permissions.rules == (
        Rule(
            "config:1",
            "allow",
            "run",
            command="git status",
            match=("git status --short",),
            not_match=("git push", "git status && rm x"),
            source="config",
        ),
        Rule(
            "config:2",
            "ask",
            "*",
            paths=("~/.ssh", "*.pem"),
            human=True,
            scope=RuleScope(root="file:///srv"),
            expires_at="2030-01-01T00:00:00.000Z",
            source="config",
        ),
        Rule("config:3", "ask", "run", command="npm ci", network="all", source="config"),
    )


def test_a_rule_that_is_wrong_is_named_with_its_line_and_nothing_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for old, new, line, what in (
        (
            'match = ["git status --short"]',
            'match = ["git stash"]',
            7,
            "is not matched by the rule: 'git stash'",
        ),
        ('"git status && rm x"]', '"git status -s"]', 8, "is matched by the rule: 'git status -s'"),
        ('command = "git status"', 'command = "git status && ls"', 6, "it has several"),
        ('command = "git status"', 'command = "git $X"', 6, "it has $"),
        ('effect = "ask"', 'effect = "allow"', 12, 'needs the effect "ask"'),
        ('"~/.ssh"', '"../x"', 13, 'contains ".."'),
        ('root = "/srv"', 'root = "srv"', 14, "must be an absolute path"),
        ('effect = "ask"', 'effect = "maybe"', 11, 'cannot be "maybe"'),
        ('tool = "run"\ncommand = "npm ci"', 'command = "npm ci"', 20, 'needs the tool "run"'),
        ('network = "all"', 'network = "none"', 21, 'cannot be "none"'),
        ("human = true", "person = true", 12, "there is no setting person"),
    ):
        assert old in RULES
        path.write_text(RULES.replace(old, new), "utf-8")
        config = load_config(path)
        assert config.complaint is not None
        assert f"{path}, line {line}: " in config.complaint
        assert what in config.complaint
        (everything,) = config.permissions.rules
        assert (everything.effect, everything.tool, everything.paths) == ("ask", "*", None)


def test_a_broken_file_without_rules_asks_about_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("nonsense = 1\n", "utf-8")
    assert load_config(path).permissions.rules == ()


def test_the_file_of_a_project_has_only_rules() -> None:
    parsed = parse_project_rules(b'[[permissions]]\neffect = "deny"\npaths = [".env"]\n', "/r/p.toml")
    assert parsed.complaint is None
    assert [(one.effect, one.paths, one.source) for one in parsed.rules] == [("deny", (".env",), "project")]
    for content, complaint in (
        (b'default_model = "x"\n', "/r/p.toml, line 1: there is no setting default_model here."),
        (
            b'[[permissions]]\neffect = "deny"\nroot = "/"\n',
            "/r/p.toml, line 3: a project's rules",
        ),
        (b"a\n\xff\n", "/r/p.toml, line 2: the file is not UTF-8."),
        (b"[[permissions]\n", "/r/p.toml, line 1:"),
    ):
        broken = parse_project_rules(content, "/r/p.toml")
        assert broken.rules == ()
        assert broken.complaint is not None
        assert broken.complaint.startswith(complaint)


def test_a_file_of_a_foreign_project_cannot_hold_up_the_daemon() -> None:
    rule = b'[[permissions]]\neffect = "deny"\n'
    many = b",".join([b'"a*"'] * (MAX_PATTERNS + 1))
    examples = b",".join([b'"a"'] * (MAX_EXAMPLES + 1))
    for content, complaint in (
        (b"#" * (MAX_PROJECT_BYTES + 1), "is larger than 64 KiB"),
        (b"a = " + b"[" * 20_000, "is nested too deep"),
        (b".".join([b"a"] * 20_000) + b" = 1", "line 1: the line has more than 200 dots"),
        (b"a = " + b"9" * 5_000, "has a value that cannot be read"),
        (rule + b"expires_at = 0001-01-01T00:00:00+23:59", "line 3: expires_at is not a time"),
        (rule + b"paths = [" + many + b"]", "can have 500 patterns"),
        (rule + b'paths = ["a*"]\nmatch = [' + examples + b"]", "more than 100 examples"),
    ):
        broken = parse_project_rules(content, "/r/p.toml")
        assert (broken.rules, complaint in (broken.complaint or "")) == ((), True), broken.complaint
