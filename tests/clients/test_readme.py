"""What README.md, docs/configuration.md and docs/agents.md show of commands, settings and tools is true."""

import re
from pathlib import Path

import msgspec
import pytest

from parley_clients import sync
from parley_daemon import config
from parley_daemon.config import Config, load_config
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.terminal import Terminal

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text("utf-8")
CONFIGURATION = (PROJECT / "docs" / "configuration.md").read_text("utf-8")
AGENTS = (PROJECT / "docs" / "agents.md").read_text("utf-8")
PROVIDERS = (PROJECT / "docs" / "providers.md").read_text("utf-8")
SECTIONS = [
    kind
    for kind in vars(config).values()
    if isinstance(kind, type)
    and issubclass(kind, msgspec.Struct)
    and kind.__struct_config__.forbid_unknown_fields
]


def samples(page: str) -> list[str]:
    """Return what a page shows of the configuration file."""
    page = re.sub(r"^````text\n.*?^````$", "", page, flags=re.M | re.S)
    return re.findall(r"^```toml\n(.*?)^```$", page, re.M | re.S)


def lines_shown(terminal: Terminal) -> list[str]:
    """Return the lines that a terminal has shown, without colours; the last drawing of each counts."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-JL-Za-z]", "", terminal.shown)
    return [re.split(r"\r|\x1b\[2K", line)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]


@pytest.mark.slow
def test_the_sample_is_what_the_commands_print(shared_daemon: DaemonProcess) -> None:
    (sample,) = re.findall(r"^````text\n(.*?)^````$", README, re.M | re.S)
    first, _, rest = sample.partition("\n")
    question = first.removeprefix('$ parley ask "').rstrip('"')
    answer, _, listed = rest.partition("$ parley list\n")
    terminal = Terminal(shared_daemon.env, "ask", question, size=(92, 40))
    assert terminal.end() == 0
    shown = iter(lines_shown(terminal))
    for line in answer.rstrip("\n").split("\n")[:-1]:
        assert line in shown, line
    # Of the last one the time differs.
    assert any(line.startswith(answer.rstrip("\n").split("\n")[-1].rpartition(" · ")[0]) for line in shown)
    table = Terminal(shared_daemon.env, "list", "--limit", "1", size=(92, 40))
    table.end()
    headings, *_ = lines_shown(table)
    assert headings.split() == listed.splitlines()[0].split()


def test_the_samples_of_the_configuration_are_valid_and_name_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    (shortest,) = samples(README)
    providers, defaults = samples(CONFIGURATION)
    for sample in (shortest, providers, providers.replace("\n# ", "\n")):
        path.write_text(sample, "utf-8")
        read = load_config(path)
        assert (read.complaint, read.default_model) == (None, "local:llama")
    path.write_text(defaults, "utf-8")
    assert load_config(path) == Config()
    path.write_text(defaults.replace("# total_ms", "total_ms").replace("# model", "model"), "utf-8")
    read = load_config(path)
    assert (read.timeouts.total_ms, read.summaries.title_model) == (600_000, "local:small")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_of_the_configuration_file_is_described(section: type[msgspec.Struct]) -> None:
    names = {field.encode_name for field in msgspec.structs.fields(section)}
    assert {name for name in names if not re.search(rf"\b{name}\b", CONFIGURATION + PROVIDERS)} == set()


def test_the_configuration_file_has_sections_to_describe() -> None:
    assert len(SECTIONS) >= 8


def test_the_page_about_agents_names_every_built_in_tool(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(agent="plan", context={"repositories": [tmp_path.as_uri()]})
        names = [tool["name"] for tool in client.call("tool/list", {"chatId": chat.id}).raw["tools"]]
    assert "read_file" in names
    assert [name for name in names if f"`{name}`" not in AGENTS] == []
