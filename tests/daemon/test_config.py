"""The configuration file: what is read of it, and how a bad one is named."""

import ast
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from parley_daemon import config as config_module
from parley_daemon import config_reload, daemon
from parley_daemon.config import Config, load_config

BAD = [
    ("limits", "max_running_turns", 0),
    ("limits", "max_running_turns", -3),
    ("limits", "max_running_turns", 10**400),
    ("limits", "connect_ms", 0),
    ("limits", "first_part_ms", 0),
    ("limits", "idle_ms", -5),
    ("limits", "total_ms", -1),
    ("limits", "total_ms", 10**400),
    ("retries", "attempts", 0),
    ("retries", "first_ms", -1),
    ("retries", "longest_ms", 10**400),
    ('models."x:y"', "context_limit", 0),
]


@pytest.mark.parametrize(("table", "name", "number"), BAD, ids=str)
def test_a_number_out_of_bounds_is_reported_with_file_and_line(
    tmp_path: Path, table: str, name: str, number: int
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"# mine\n[{table}]\n{name} = {number}\n", "utf-8")
    config = load_config(path)
    assert config.complaint is not None
    assert config.complaint.startswith(f"{path}, line 3: ")
    assert (config.max_running_turns, config.timeouts) == (200, Config().timeouts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("default_model = 3", ", line 1: default_model must be a string."),
        ("fallback_models = [1]", ", line 1: each value of fallback_models must be a string."),
        ('recovery = "maybe"', ', line 1: recovery cannot be "maybe"; use "interrupt" or "retry".'),
        ("[retriez]", ", line 1: there is no setting retriez here."),
        ("[retries]\nattempts = 0", ", line 2: attempts must be an integer of 1 or more."),
        ("[compaction]\nthreshold = 101", ", line 2: threshold must be an integer of 100 or less."),
        ('[providers.p]\nbase_url = "x"', ", line 1: providers.p lacks type."),
    ],
)
def test_an_invalid_setting_is_named_in_plain_words(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text, "utf-8")
    assert load_config(path).complaint == f"{path}{problem}"


LINES = [
    # the same name stands in other tables before
    (
        "[limits]\nconnect_ms = 1\n[retries]\nattempts = 1\n[models.'p:m']\ncontext_limit = 0\n",
        6,
        "context_limit",
    ),
    ("[providers.a]\ntype = 'openai'\n[providers.b]\ntype = 3\n", 4, "type must be a string"),
    ("[providers.a]\ntype = 'openai'\nenabled = true\n[titles]\nenabled = 3\n", 5, "enabled"),
    ("[models.'a:1']\ncontext_limit = 1\n[models.'a:2']\ncontext_limit = 0\n", 4, "context_limit"),
    ("[providers.a]\ntype='openai'\n\n[providers.b]\nbase_url='x'\n", 4, "providers.b lacks type"),
    ("[titles]\nmodel = 'a'\n[compaction]\nmodel = 'a'\n", 4, "there is no setting model here"),
    # other ways to write a setting
    ("retries.attempts = 1\nretries.first_ms = -1\n", 2, "first_ms"),
    ("retries = { attempts = 0 }\n", 1, "attempts"),
    ("[providers]\na = { type = 'openai' }\nb = { type = 'openai', enabled = 1 }\n", 3, "enabled"),
    ('# attempts = 0\n[titles]\nmodel = """\nattempts = 0\n"""\n[retries]\nattempts = 0\n', 7, "attempts"),
    ("fallback_models = [\n  'a:b',\n  3,\n]\n", 1, "each value of fallback_models"),
    ("[providers.a]\ntype = 'openai'\nheaders = { 'X' = '1', 'Y' = 2 }\n", 3, "Y must be a string"),
    ("local_only = true\r\n[limits]\r\nidle_ms = 0\r\n", 3, "idle_ms"),
    ("default_model = 'a\u2028b'\n[limits]\nidle_ms = 0\n", 3, "idle_ms"),
    # settings of models
    ("[models.'a:1'.settings]\ntop_p = 1\n[models.'a:2'.settings]\ntopP = 2\n", 4, "topP must be 1 or less"),
    ("[models.'a:1'.settings]\ntop_p = 1\n[models.'a:2'.settings]\ntop_p = 2\n", 4, "must be 1 or less"),
    (
        "[models.'a:1'.settings.providerOptions.openai]\nuser = 'u'\nreasoningEffort = 'banana'\n",
        3,
        "or 'max'",
    ),
    ("[models.'a:1']\n[models.'a:1'.settings]\ncolour = 1\n", 3, "colour is not a field"),
    ("[models]\n'a:1' = {}\nllama = {}\n", 3, '"llama" cannot name a model here'),
]


@pytest.mark.parametrize(("text", "line", "problem"), LINES, ids=lambda one: str(one)[:40])
def test_the_line_of_a_problem_is_that_of_its_setting(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode())
    complaint = load_config(path).complaint
    assert complaint is not None
    assert complaint.startswith(f"{path}, line {line}: ")
    assert problem in complaint


def test_a_model_of_the_only_provider_needs_no_provider_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[providers.p]\ntype = 'openai'\n[models.llama]\ncontext_limit = 7\n", "utf-8")
    assert [(one.id, one.context_limit) for one in load_config(path).models] == [("p:llama", 7)]


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ('providerOptions.openai.reasoningEffort = "banana"', "reasoningEffort must be 'none', 'minimal', "),
        ('provider_options.anthropic.effort = "banana"', "effort must be 'low', "),
        ("providerOptions.vercel.extraBody.tools = []", 'extraBody must not contain "tools"'),
        ('agent.mode = "auto"', "settings.agent belongs to a chat or a turn, not to a model; remove it."),
        (
            'providerOptions.openaiCompat.extraBody.tool_choice = "a"',
            'extraBody must not contain "tool_choice"',
        ),
    ],
)
def test_options_of_a_model_have_the_values_that_the_protocol_allows(
    tmp_path: Path, setting: str, problem: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[models."x:m".settings]\n{setting}\n', "utf-8")
    complaint = load_config(path).complaint
    assert complaint is not None
    assert problem in complaint


def test_a_byte_order_mark_is_ignored_and_lines_are_counted_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('\ufeffdefault_model = "c:m"\r\n', "utf-8")
    assert load_config(path) == Config(default_model="c:m")
    path.write_text("\ufeff\n[limits]\nidle_ms = 0\n", "utf-8")
    complaint = load_config(path).complaint
    assert complaint is not None
    assert complaint.startswith(f"{path}, line 3: ")
    path.write_text('default_model = "c:m"\n', "utf-16")
    assert load_config(path).complaint == f"{path}, line 1: the file is not UTF-8."


def test_the_smallest_numbers_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[limits]\nmax_running_turns = 1\nidle_ms = 1\n[retries]\nfirst_ms = 0\n", "utf-8")
    config = load_config(path)
    assert config.complaint is None
    assert (config.max_running_turns, config.timeouts.idle_ms, config.retries.first) == (1, 1, 0)


def test_local_can_be_configured_for_a_provider_and_for_all(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('local_only = true\n[providers.p]\ntype = "openai"\nlocal = true\n', "utf-8")
    config = load_config(path)
    assert (config.local_only, config.providers[0].local) == (True, True)
    path.write_text('[providers.p]\ntype = "openai"\n', "utf-8")
    config = load_config(path)
    assert (config.local_only, config.providers[0].local) == (False, None)


def test_fallbacks_and_their_retries_can_be_configured(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    retries = "[retries]\nfallback_attempts = 3\nfallback_wait_ms = 700\nattempts_after_text = 0\n"
    path.write_text(f'fallback_models = ["a:b", "c:d"]\n{retries}', "utf-8")
    config = load_config(path)
    assert config.fallback_models == ("a:b", "c:d")
    assert (config.retries.fallback_attempts, config.retries.fallback_wait) == (3, 0.7)
    assert config.retries.attempts_after_text == 0
    default = Config()
    assert default.fallback_models == ()
    assert (default.retries.fallback_attempts, default.retries.fallback_wait) == (2, 5.0)
    assert default.retries.attempts_after_text == 2


@pytest.mark.parametrize("name", ["my:prov", "my prov", "", "_x", "a/b", "ü", "a" * 65])
def test_an_invalid_provider_name_is_reported_with_file_and_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.toml"
    sections = f'# mine\n[providers.ok]\ntype = "openai"\n[providers."{name}"]\ntype = "openai"\n'
    path.write_text(sections, "utf-8")
    config = load_config(path)
    assert config.complaint == (
        f'{path}, line 4: "{name}" cannot name a provider;'
        ' a name is 1 to 64 letters, digits and ".", "_", "-" that begin with a letter or digit.'
    )
    assert config.providers == ()


@pytest.mark.parametrize("name", ["a", "9", "My.own_server-2", "a" * 64])
def test_a_provider_may_have_any_name_that_the_protocol_allows(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[providers."{name}"]\ntype = "openai"\n', "utf-8")
    config = load_config(path)
    assert (config.complaint, [one.name for one in config.providers]) == (None, [name])


def test_servers_of_tools_are_read_and_one_that_makes_no_sense_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    text = '[mcp.a]\ncommand = "x"\ncwd = "~/y"\n[mcp.b]\nurl = "https://h"\nheaders = { A = "b" }\n'
    path.write_text(text, "utf-8")
    first, second = load_config(path).mcp_servers
    assert (first.command, first.cwd) == ("x", str(Path.home() / "y"))
    assert (second.name, second.url, second.headers) == ("b", "https://h", {"A": "b"})
    for broken, problem in (
        ("[mcp.c]", "line 7: command of the MCP server c is missing; give a command to start, or a url."),
        ('[mcp."c d"]\nurl = "https://h"', "line 7: the name of an MCP server must be 1 to 64"),
        ('[mcp.c]\nurl = "h"', "line 8: url of the MCP server c must begin with"),
        (
            '[mcp.c]\nurl = "https://h"\nargs = ["s3cret"]',
            "line 9: args of the MCP server c needs a command.",
        ),
    ):
        path.write_text(text + broken, "utf-8")
        complaint = load_config(path).complaint or ""
        assert complaint.startswith(f"{path}, {problem}"), complaint
        assert "s3cret" not in complaint


# ------------------------------------------------------------------ settings that nobody reads

# Each section of the file: its heading, the settings that it cannot do without, and its type.
SECTIONS: list[tuple[str, dict[str, str], type[msgspec.Struct]]] = [
    ("", {}, vars(config_module)["FileSettings"]),
    ("[limits]", {}, vars(config_module)["_Limits"]),
    ("[retries]", {}, vars(config_module)["_Retries"]),
    ("[titles]", {}, vars(config_module)["_Titles"]),
    ("[compaction]", {}, vars(config_module)["_Compaction"]),
    ("[sandbox]", {}, vars(config_module)["_Sandbox"]),
    ("[providers.p]", {"type": '"openai"'}, vars(config_module)["_Provider"]),
    ('[models."p:m"]', {"context_limit": "1"}, vars(config_module)["_Model"]),
    (
        '[models."p:m".pricing]',
        {"input_per_million": "1", "output_per_million": "1"},
        vars(config_module)["_Pricing"],
    ),
    ("[[permissions]]", {"effect": '"ask"', "tool": '"run"'}, vars(config_module)["RuleTable"]),
    ("[mcp.s]", {"command": '"x"'}, vars(config_module)["McpTable"]),
    ('[repository_hosts."github.com"]', {"token": '"t"'}, vars(config_module)["HostTable"]),
]
VALUES = {
    "headers": '{ a = "b" }',
    "settings": "{ temperature = 0.5 }",
    "root": '"/srv"',
    "expires_at": "2030-01-01T00:00:00Z",
    "match": '["run"]',
    "env": '{ a = "b" }',
    "cwd": '"/srv"',
    "api_url": '"https://api.example.org"',
}
NEEDED_BY = {("[[permissions]]", name): {"command": '"make"'} for name in ("exact", "network")}
OF_SECTIONS = ("providers", "models", "pricing", "permissions", "mcp", "repository_hosts")
SETTINGS = [
    (heading, needed, field)
    for heading, needed, section in SECTIONS
    for field in msgspec.structs.fields(section)
    if not (isinstance(field.type, type) and issubclass(field.type, msgspec.Struct))
    and field.name
    not in ("providers", "models", "pricing", "permissions", "mcp", "repository_hosts")  # these are sections
    and not (heading == "[mcp.s]" and field.name in ("url", "headers"))  # instead of a command
    and field.name != "token_env"  # instead of a token
]


def another_value(field: msgspec.structs.FieldInfo) -> str:
    """Return a value in TOML that is not the field's default."""
    kind: Any = field.type
    while get_origin(kind) not in (Literal, list, dict) and get_args(kind):
        kind = get_args(kind)[0]
    if field.name in VALUES:
        return VALUES[field.name]
    if get_origin(kind) is Literal:
        return f'"{next(word for word in get_args(kind) if word != field.default)}"'
    if get_origin(kind) is list:
        return '["a:b"]'
    if kind is bool:
        return "false" if field.default is True else "true"
    return '"other"' if kind is str else "7"


def test_the_sections_above_are_all_that_the_file_has() -> None:
    named = {section for _, _, section in SECTIONS}
    of_the_module = {
        kind
        for kind in vars(config_module).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__struct_config__.forbid_unknown_fields
    }
    assert named == of_the_module


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting[0]}{setting[2].name}")
def test_a_setting_of_the_file_reaches_the_configuration(
    setting: tuple[str, dict[str, str], msgspec.structs.FieldInfo], tmp_path: Path
) -> None:
    heading, needed, field = setting
    needed = {**needed, **NEEDED_BY.get((heading, field.name), {})}
    path = tmp_path / "config.toml"

    def load(values: dict[str, str]) -> Config:
        lines = "\n".join([f"{name} = {value}" for name, value in values.items()])
        path.write_text(f"{heading}\n{lines}\n", "utf-8")
        config = load_config(path)
        assert config.complaint is None
        return config

    assert load({**needed, field.encode_name: another_value(field)}) != load(needed), (
        f"config.py reads {heading} {field.name} and does not put it into Config"
    )


NOT_RELOADED = {"recovery", "repository_hosts", "sandbox"}
"""What only matters when the daemon starts."""


@pytest.mark.parametrize(("module", "unread"), [(daemon, set[str]()), (config_reload, NOT_RELOADED)])
def test_every_field_of_the_configuration_has_its_consumer(module: ModuleType, unread: set[str]) -> None:
    tree = ast.parse(inspect.getsource(module))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config"
    }
    missing = set(Config.__struct_fields__) - read - unread
    assert not missing, f"{module.__name__} passes these settings to nobody: {sorted(missing)}"


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("", "line 2: the host github.com needs token or token_env, and not both."),
        ('token = "a"\ntoken_env = "B"', "line 2: the host github.com needs token or token_env"),
        ('token = "a"\napi_url = "http://evil.org"', "line 4: the address of an API begins with https://."),
    ],
)
def test_a_host_without_a_token_or_with_an_unsafe_address_is_named(
    tmp_path: Path, table: str, complaint: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'\n[repository_hosts."github.com"]\n{table}\n')
    assert complaint in (load_config(path).complaint or "")
