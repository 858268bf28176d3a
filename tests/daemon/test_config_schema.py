"""The JSON Schema of the configuration file: complete, described, and true of what is read."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from parley_daemon.config import FileSettings, load_config
from parley_daemon.config_schema import config_schema

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@cache
def schema() -> dict[str, Any]:
    """Return the schema; it takes a second, which collecting the tests shall not cost."""
    return config_schema()


def fields(value: object, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from fields(inner, path)
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if key == "properties":
                properties: dict[str, dict[str, Any]] = inner
                yield from [(f"{path}.{name}", setting) for name, setting in properties.items()]
            yield from fields(inner, f"{path}.{key}")


def test_every_setting_has_a_description_with_its_limits() -> None:
    found = dict(fields(schema(), ""))
    assert {name.rpartition(".")[2] for name in found} > set(FileSettings.__struct_fields__)
    for path, setting in found.items():
        text = setting.get("description", "")
        assert text.endswith("."), path
        for limit in ("minimum", "maximum"):
            if abs(setting.get(limit, 0)) < 2**53 - 1 and limit in setting:
                assert f"{setting[limit]:g}" in text, path
        assert not path.endswith("_ms") or "illiseconds" in text, path


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.S))
def test_the_examples_of_the_page_are_valid(block: str, tmp_path: Path) -> None:
    jsonschema.validate(tomllib.loads(block), schema())
    (tmp_path / "config.toml").write_text(block, "utf-8")
    assert load_config(tmp_path / "config.toml").complaint is None


@pytest.mark.parametrize(
    "text",
    [
        "colour = 1",
        'recovery = "maybe"',
        "[limits]\nidle_ms = 0",
        "[providers.p]\nbase_url = 'x'",
        "[models.'p:m']\ncompression_threshold = 101",
        "[models.'p:m'.settings]\ntemperature = 3",
        "[models.'p:m'.settings.providerOptions.openai]\nreasoningEffort = 'banana'",
    ],
)
def test_what_the_schema_refuses_is_refused_when_it_is_read(text: str, tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), schema())
    (tmp_path / "config.toml").write_text(text, "utf-8")
    assert load_config(tmp_path / "config.toml").complaint is not None


@pytest.mark.slow
def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "parley_daemon", "schema", "configuration"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == schema()
