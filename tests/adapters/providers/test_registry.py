"""The rows of provider types: each can be configured, and each is described."""

import subprocess
import sys
from pathlib import Path

import pytest

from parley_daemon.adapters.providers.provider import ProviderConfig, build_provider
from parley_daemon.adapters.providers.registry import TYPES, find_type
from parley_daemon.config import load_config


@pytest.mark.parametrize("name", TYPES)
def test_every_setting_of_a_type_can_be_written_in_the_configuration_file(name: str, tmp_path: Path) -> None:
    options = {key: words[0] if words else "2024-10-21" for key, words in TYPES[name].options.items()}
    lines = "".join([f'{key} = "{value}"\n' for key, value in options.items()])
    path = tmp_path / "config.toml"
    path.write_text(f'[providers.mine]\ntype = "{name}"\nbase_url = "https://host.test"\n{lines}', "utf-8")
    config = load_config(path)
    assert config.complaint is None
    [provider] = config.providers
    assert (provider.type, dict(provider.options)) == (name, options)
    assert build_provider(provider, "config", {}, 1.0, {}).provider_type is TYPES[name]


def test_a_type_is_found_by_its_name_and_an_unknown_one_is_not() -> None:
    assert [find_type(name) for name in TYPES] == list(TYPES.values())
    assert find_type("oracle") is None


def test_a_setting_that_a_type_does_not_have_is_reported() -> None:
    provider = build_provider(ProviderConfig("x", "openai", options={"region": "eu"}), "config", {}, 1.0, {})
    assert provider.problem is not None and provider.problem.fault
    assert provider.problem.message == (
        'Provider "x" is of the type "openai", which has no setting "region".'
    )


def test_importing_the_registry_imports_no_dialect() -> None:
    code = (
        "import sys, parley_daemon.adapters.providers.registry\n"
        "names = ('anthropic', 'bedrock', 'demo', 'google', 'openai_chat', 'openai_responses', 'azure')\n"
        "print([name for name in names if f'parley_daemon.adapters.providers.{name}' in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"
