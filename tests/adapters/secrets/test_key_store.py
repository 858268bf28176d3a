"""API keys are stored in a keyring that works, or in a file that only its owner can read."""

import importlib
import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from parley_daemon.adapters.secrets import system_keyring
from parley_daemon.adapters.secrets.key_store import FILE_NAME, KeyStore, MemoryKeyStore
from parley_daemon.adapters.secrets.system_keyring import SERVICE
from parley_daemon.ports.secrets import Keys, Secrets, SecretsUnavailableError

CANARY = "sk-canary-0123456789abcdef"


class Ring:
    """A backend of the package `keyring`."""

    def __init__(self, priority: float = 5) -> None:
        self.priority = priority
        self.kept: dict[tuple[str, str], str] = {}
        self.refuses: Exception | None = None
        self.forgetful = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.refuses:
            raise self.refuses
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.refuses:
            raise self.refuses
        if not self.forgetful:
            self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    """Install a fake package `keyring` with this backend."""
    found = Ring()
    package = ModuleType("keyring")
    package.get_keyring = lambda: found  # pyright: ignore[reportAttributeAccessIssue] - a module made by hand
    monkeypatch.setitem(sys.modules, "keyring", package)
    return found


@pytest.fixture
def no_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the import of the package fail."""
    monkeypatch.setitem(sys.modules, "keyring", None)


async def check_key_store(secrets: Secrets) -> None:
    """Check what every key store does."""
    assert await secrets.read([]) == Keys()
    assert await secrets.read(["a"]) == Keys()
    await secrets.write("a", "one")
    await secrets.write("b", "two")
    await secrets.write("a", "three")
    assert (await secrets.read(["a", "b", "c"])).found == {"a": "three", "b": "two"}
    await secrets.write("a", None)
    await secrets.write("never", None)
    assert (await secrets.read(["a", "b"])).found == {"b": "two"}


async def test_keys_are_stored_in_memory() -> None:
    await check_key_store(MemoryKeyStore())


@pytest.mark.usefixtures("no_ring")
async def test_without_a_keyring_keys_are_in_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    before = os.umask(0)
    try:
        await check_key_store(KeyStore(folder))
    finally:
        os.umask(before)
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    assert (await KeyStore(folder).read(["b"])).found == {"b": "two"}


async def test_with_a_keyring_keys_are_in_it_and_in_no_file(ring: Ring, tmp_path: Path) -> None:
    await check_key_store(KeyStore(tmp_path))
    assert ring.kept == {(SERVICE, f"b ({tmp_path})"): "two"}
    assert list(tmp_path.iterdir()) == []


async def test_daemons_of_different_data_directories_share_a_keyring_but_no_keys(
    ring: Ring, tmp_path: Path
) -> None:
    one, other = KeyStore(tmp_path / "one"), KeyStore(tmp_path / "other")
    await one.write("openai", "first")
    await other.write("openai", "second")
    assert (await one.read(["openai"])).found == {"openai": "first"}


async def test_a_key_moves_from_the_file_into_the_keyring_when_it_is_set_again(
    ring: Ring, tmp_path: Path
) -> None:
    secrets = KeyStore(tmp_path)
    ring.priority = 0.5
    await secrets.write("a", "in the file")
    assert ring.kept == {}
    ring.priority = 5
    assert (await secrets.read(["a"])).found == {"a": "in the file"}
    await secrets.write("a", "in the keyring")
    assert (await secrets.read(["a"])).found == {"a": "in the keyring"}
    assert json.loads((tmp_path / FILE_NAME).read_text("utf-8")) == {"keys": {}}


@pytest.mark.parametrize("refusal", [RuntimeError(CANARY), OSError(), KeyError(CANARY)], ids=repr)
async def test_when_the_keyring_fails_keys_go_to_the_file_and_no_secret_is_logged(
    ring: Ring, tmp_path: Path, refusal: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = KeyStore(tmp_path)
    await secrets.write("kept", "before")
    ring.refuses = refusal
    with caplog.at_level(logging.DEBUG):
        await secrets.write("a", CANARY)
        keys = await secrets.read(["a", "kept"])
    assert keys.found == {"a": CANARY}
    why = f"The key cannot be read from the system keyring: it failed ({type(refusal).__name__})."
    assert keys.unreadable == {"kept": why}
    assert "cannot store the key of a" in caplog.text
    assert CANARY not in caplog.text
    assert CANARY not in repr(keys)


async def test_when_the_keyring_stores_nothing_keys_go_to_the_file(ring: Ring, tmp_path: Path) -> None:
    ring.forgetful = True
    secrets = KeyStore(tmp_path)
    await secrets.write("a", "one")
    assert (await secrets.read(["a"])).found == {"a": "one"}


async def test_a_read_from_a_keyring_that_does_not_answer_times_out(
    ring: Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    unlocked = Event()

    def get_password(service: str, username: str) -> str | None:
        unlocked.wait(30)
        return None

    monkeypatch.setattr(ring, "get_password", get_password)
    monkeypatch.setattr(system_keyring, "READ_SECONDS", 0.05)
    try:
        with anyio.fail_after(30):
            keys = await KeyStore(tmp_path).read(["a"])
    finally:
        unlocked.set()
    assert "it did not answer within 0.05 s; it may have to be unlocked" in keys.unreadable["a"]


@pytest.mark.usefixtures("no_ring")
@pytest.mark.parametrize("content", ["{", "[]", '{"keys": 3}', "\x00", "[" * 100_000], ids=range(5))
async def test_a_damaged_file_is_named_in_the_error_and_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content, "utf-8")
    secrets = KeyStore(tmp_path)
    why = (await secrets.read(["a"])).unreadable["a"]
    assert why == f"{path} is damaged. Delete it and set the keys again."
    with pytest.raises(SecretsUnavailableError) as caught:
        await secrets.write("a", CANARY)
    assert str(caught.value) == why
    assert path.read_text("utf-8") == content


@pytest.mark.usefixtures("no_ring")
async def test_the_error_for_a_key_that_cannot_be_written_does_not_contain_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "ascii")
    with pytest.raises(SecretsUnavailableError) as caught:
        await KeyStore(tmp_path / "file").write("a", CANARY)
    assert CANARY not in str(caught.value)
    assert str(tmp_path / "file" / FILE_NAME) in str(caught.value)


async def test_the_real_package_has_what_is_used_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the real package, a backend that stores nothing counts as no keyring."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    package = importlib.import_module("keyring")
    package.core.init_backend()
    secrets = KeyStore(tmp_path)
    await secrets.write("a", "one")
    assert (tmp_path / FILE_NAME).exists()
    assert (await secrets.read(["a"])).found == {"a": "one"}
    for name in ("get_password", "set_password", "delete_password", "priority"):
        assert hasattr(package.get_keyring(), name)
