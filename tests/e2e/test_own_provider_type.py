"""docs/providers.md: a daemon finds the package of its example and talks through it; its table is true."""

import re
import tomllib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from parley_daemon.adapters.providers.catalogue import ConfiguredCatalogue
from parley_daemon.adapters.providers.provider_type import ProviderType
from parley_daemon.adapters.providers.registry import ENTRY_POINT_GROUP, TYPES
from parley_daemon.config import load_config
from tests.support.processes.daemon import running_daemon
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.providers.script import Action, cut, raw, status
from tests.support.providers.server import FakeProvider, fake_provider

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text("utf-8")
AZURE_SAMPLE, WHOLE_SAMPLE, PROJECT, SECTION = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
(MODULE,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


def installed(folder: Path) -> None:
    """Put the page's package into a folder as pip would."""
    project = tomllib.loads(PROJECT)["project"]
    (folder / "parleyd_ollama.py").write_text(MODULE, "utf-8")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    name, version = project["name"], project["version"]
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join([f"{key} = {value}\n" for key, value in of.items()]) for group, of in groups
    ]
    (info / "entry_points.txt").write_text("".join(lines), "utf-8")


@asynccontextmanager
async def talking_to(folder: Path, server: FakeProvider) -> AsyncGenerator[Peer]:
    """Run a daemon with the page's package and section, which asks this server."""
    config = f'[titles]\nenabled = false\n[retries]\nattempts = 1\n{SECTION}base_url = "{server.origin}"\n'
    env = {"PYTHONPATH": str(folder)}
    async with running_daemon(config=config, env=env) as daemon, unix_peer(daemon.socket) as peer:
        await peer.initialize()
        yield peer


def line(data: bytes) -> Action:
    return raw(data + b"\n")


HELLO = (
    line(b'{"model":"llama3.2","message":{"role":"assistant","thinking":"Hm."},"done":false}'),
    raw('{"model":"llama3.2","message":{"role":"assistant","content":"\\"Grü'.encode()[:-1]),
    raw("ü".encode()[1:] + b'"},"done":false}\n'),
    line(b'{"message":{"role":"assistant","content":"\\u00dfe\\""},"done":false}'),
    raw(b'{"message":{"role":"assistant","content":""},"done":true,"done_reason":"length",'),
    raw(b'"total_duration":5,"prompt_eval_count":26,"eval_count":298}'),
)


async def test_the_package_of_the_page_is_found_and_answers(tmp_path: Path) -> None:
    installed(tmp_path)
    async with fake_provider(HELLO) as server, talking_to(tmp_path, server) as peer:
        settings: dict[str, Any] = {"temperature": 0.5, "outputSchema": {"type": "string"}}
        chat_id = await peer.new_chat(model="ollama:llama3.2", systemPrompt="Be brief.", settings=settings)
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hello"})
        [request] = server.requests
        listed = await peer.result("model/list")
    assert (answer["outcome"], answer["stopReason"]) == ("completed", "length")
    assert answer["messages"][-1]["content"] == [
        {"type": "reasoning", "text": "Hm."},
        {"type": "text", "text": '"Grüße"'},
    ]
    assert answer["output"] == "Grüße"
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (26, 298)
    assert (request.path, request.json) == (
        "/api/chat",
        {
            "model": "llama3.2",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
            ],
            "options": {"temperature": 0.5},
            "format": {"type": "string"},
            "stream": True,
        },
    )
    [shown] = [one for one in listed["providers"] if one["provider"] == "ollama"]
    assert (shown["displayName"], shown["available"]) == ("Ollama", True)


async def test_what_goes_wrong_with_it_is_said_as_with_any_other(tmp_path: Path) -> None:
    installed(tmp_path)
    missing = {"error": "model 'llama3.2' not found"}
    scripts = (
        (status(404, missing),),
        (line(b'{"message":{"content":"a"}}'), line(b'{"error":"the server is overloaded"}')),
        (line(b'{"message":{"content":"a"}}'), cut()),
        (line(b"no JSON"),),
    )
    kinds: list[str] = []
    async with fake_provider(*scripts) as server, talking_to(tmp_path, server) as peer:
        chat_id = await peer.new_chat(model="ollama:llama3.2")
        for _ in scripts:
            answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hello"})
            kinds.append(answer["error"]["kind"])
        unfit = {"chatId": chat_id, "content": "Hello", "settings": {"presencePenalty": 1.0}}
        answer = await peer.result("chat/ask", unfit)
        assert len(server.requests) == len(scripts)
    assert kinds == ["model_not_found", "overloaded", "bad_stream", "bad_stream"]
    assert answer["error"]["message"] == (
        'ollama does not support the option "presencePenalty". Remove it from the settings.'
    )


async def test_what_packages_bring_is_listed_and_can_be_configured(tmp_path: Path) -> None:
    installed(tmp_path)
    env = {"PYTHONPATH": str(tmp_path)}
    async with (
        fake_provider(HELLO) as server,
        running_daemon(config="[titles]\nenabled = false\n", env=env) as daemon,
        unix_peer(daemon.socket) as peer,
    ):
        await peer.initialize()
        listed = (await peer.result("provider/list"))["providers"]
        assert {one["provider"] for one in listed} == {*TYPES, "ollama"}
        assert (listed[-1]["displayName"], listed[-1]["source"]) == ("Ollama", "supported")
        refusal = await peer.error("provider/create", {"provider": "x", "type": "oracle"})
        assert refusal["message"].endswith(f"must be one of {', '.join(TYPES)}, ollama")
        await peer.result("provider/update", {"provider": "ollama", "baseUrl": server.origin})
        chat_id = await peer.new_chat(model="ollama:llama3.2")
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "Hi"})
        assert answer["outcome"] == "completed"


async def test_a_type_that_fails_when_it_is_asked_for_a_model_is_named(tmp_path: Path) -> None:
    installed(tmp_path)
    broken = MODULE.replace(
        "lambda access: make_http_model(access, Ollama(access))", 'lambda access: {}["region"]'
    )
    assert broken != MODULE
    (tmp_path / "parleyd_ollama.py").write_text(broken, "utf-8")
    said = (
        'Provider "ollama" cannot be used: its provider type "ollama" (package parleyd-ollama) failed;'
        " see the daemon's log for details."
    )
    async with fake_provider() as server, talking_to(tmp_path, server) as peer:
        refusal = await peer.error("chat/create", {"model": "ollama:llama3.2"})
    assert (refusal["code"], refusal["message"]) == (1007, said)


async def test_a_package_that_cannot_be_loaded_is_left_out_and_stops_nothing(tmp_path: Path) -> None:
    installed(tmp_path)
    (tmp_path / "parleyd_ollama.py").write_text("raise RuntimeError('broken')\n", "utf-8")
    async with fake_provider() as server, talking_to(tmp_path, server) as peer:
        listed = await peer.result("model/list")
        [shown] = [one for one in listed["providers"] if one["provider"] == "ollama"]
        assert (shown["available"], shown["unavailableReason"]) == (False, "disabled")
        assert 'has the unknown type "ollama"; use one of:' in shown["unavailableMessage"]
        chat_id = await peer.new_chat(model="demo:demo")
        answer = await peer.result("chat/ask", {"chatId": chat_id, "content": "/fast hello"})
        assert answer["outcome"] == "completed"


def test_the_page_names_the_entry_point_group() -> None:
    assert tomllib.loads(PROJECT)["project"]["entry-points"].keys() == {ENTRY_POINT_GROUP}


def test_the_configurations_of_the_page_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    for sample in (SECTION, WHOLE_SAMPLE, AZURE_SAMPLE):
        path.write_text(sample, "utf-8")
        assert load_config(path).complaint is None
    listed = ConfiguredCatalogue(load_config(path).providers, environment={"WORK_KEY": "k"})
    assert [one.provider for one in listed.providers() if one.available] == ["work", "demo"]
    assert listed.resolve("work:gpt").name == "gpt"


def row_of(kind: ProviderType) -> tuple[str, ...]:
    """Return the row of the page's table that tells the truth about a type."""
    key = ", ".join([f"`{name}`" for name in kind.key_variables]) if kind.needs_key else "optional"
    without = "that of the region" if "region" in kind.options else "none"
    usual = f"`{kind.base_url}`" if kind.base_url else "`base_url`" if kind.needs_url else without
    between = ", else " if kind.base_url else " or "
    address = f"`{kind.url_variable}`{between}{usual}" if kind.url_variable else usual
    settings = [
        f"`{name}`" + (": " + " or ".join([f"`{word}`" for word in words]) if words else "")
        for name, words in kind.options.items()
    ]
    return (f"`{kind.name}`", kind.display_name, key, address, ", ".join(settings))


def test_the_table_says_what_each_type_needs() -> None:
    table = PAGE.partition("| type |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [tuple([cell.strip() for cell in line.strip("|").split("|")]) for line in table]
    assert rows == [row_of(kind) for kind in TYPES.values()]
