"""The configuration file: what is read of it, and how a bad one is named."""

from pathlib import Path

import pytest

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
    retries = "[retries]\nfallback_attempts = 3\nfallback_wait_ms = 700\n"
    path.write_text(f'fallback_models = ["a:b", "c:d"]\n{retries}', "utf-8")
    config = load_config(path)
    assert config.fallback_models == ("a:b", "c:d")
    assert (config.retries.fallback_attempts, config.retries.fallback_wait) == (3, 0.7)
    default = Config()
    assert default.fallback_models == ()
    assert (default.retries.fallback_attempts, default.retries.fallback_wait) == (2, 5.0)


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
