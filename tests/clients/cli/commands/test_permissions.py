"""`parley permission` and `trust`, and the methods of the Python client that they use, with a real daemon."""

import json
import subprocess
from pathlib import Path

import pytest
from anyio import to_thread

from parley_clients import ConflictError, InvalidParamsError, connect
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_parley


class Shell:
    """The command line, with the daemon that it talks to."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon

    async def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return await to_thread.run_sync(lambda: run_parley(self.daemon.env, *words))


@pytest.fixture
def shell(daemon: DaemonProcess) -> Shell:
    return Shell(daemon)


async def test_rules_are_added_explained_and_removed_in_the_shell(shell: Shell, tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "a.txt").write_text("a\n")
    words = ("permission", "add", "allow", "run", "--command", "git log", "--root", str(root))
    added = await shell.run(*words, "--match", "git log -3", "--not-match", "git push")
    assert (added.returncode, added.stderr) == (0, "")
    id, text, scope, source = added.stdout.rstrip("\n").split("\t")
    assert (text, scope, source) == ("allow run: git log …", root.as_uri(), "user")
    listed = await shell.run("permission")
    assert listed.stdout == added.stdout
    refused = await shell.run(*words, "--match", "git push")
    assert refused.returncode == 1
    assert "is not matched by the rule: 'git push'" in refused.stderr

    async with connect(f"unix:{shell.daemon.socket}") as client:
        chat = await client.create_chat(agent="ask", context={"repositories": [root.as_uri()]})
        found = await shell.run("permission", "explain", chat.id, "read_file", '{"path": "/etc/hosts"}')
        first, *offers = found.stdout.splitlines()
        assert first.startswith("ask: ")
        assert f"  always:\tallow read_file in /etc/hosts\tchat {chat.id}" in offers
        short = chat.id[-8:]
        found = await shell.run("permission", "explain", short, "run", '{"command": "git log \\"a b\\""}')
        assert f"  allow\tgit log 'a b' by {id}" in found.stdout.splitlines()
        own = ("permission", "add", "deny", "run", "--command", "rm", "--chat", short)
        of_chat = (await shell.run(*own)).stdout.split("\t")
        assert of_chat[1:3] == ["deny run: rm …", f"chat {chat.id}"]
        assert "deny run: rm …" in (await shell.run("permission", "list", short)).stdout
        found = await shell.run("permission", "explain", chat.id, "run", "{}")
        assert found.stderr.startswith("parley: The arguments of run are invalid: Object missing")
        found = await shell.run("permission", "explain", chat.id, "read_file", '{"path": "a.txt"}', "--json")
        assert json.loads(found.stdout)["decision"] == "allow"
        words = ("permission", "add", "allow", "run", "--command", "npm ci", "--network", "all")
        opened = (await shell.run(*words)).stdout.split("\t")
        assert opened[1] == "allow run: npm ci … with network"
        found = await shell.run("permission", "explain", chat.id, "run", '{"command": "npm ci -s"}')
        assert found.stdout.splitlines()[1] == "  network:\tall"
        await client.permissions.remove(opened[0])
        assert (await shell.run(*words[:-2], "--network", "none")).returncode == 2
    for words in (("explain", "x"), ("explain", "x", "run", "no json"), ("add", "maybe"), ("remove",)):
        assert (await shell.run("permission", *words)).returncode == 2
    assert (await shell.run("permission", "remove", id, of_chat[0])).returncode == 0
    assert (await shell.run("permission")).stdout == ""
    assert (await shell.run("permission", "remove", id)).returncode == 1


async def test_a_project_is_shown_and_trusted_in_the_shell(shell: Shell, tmp_path: Path) -> None:
    root = tmp_path.resolve()
    found = await shell.run("trust", str(root))
    assert (found.returncode, f"in {root}." in found.stderr) == (1, True)
    assert (await shell.run("trust", str(root / "gone"))).stderr == (
        f"parley: There is no folder {root / 'gone'}.\n"
    )
    async with connect(f"unix:{shell.daemon.socket}") as client:
        other = root / "project"
        (other / ".parley").mkdir(parents=True)
        (other / ".parley" / "permissions.toml").write_text(
            '[[permissions]]\neffect = "deny"\npaths = [".env"]\n'
        )
        (other / "AGENTS.md").write_text("Use tabs.\x1b[2J\U000e0041\u200b\n")
        shown = await shell.run("trust", str(other))
        assert shown.returncode == 0
        assert shown.stdout.splitlines() == [
            f"{other.as_uri()}/.parley/permissions.toml\tnot trusted",
            "    deny * in .env",
            f"{other.as_uri()}/AGENTS.md\tnot trusted",
            "    Use tabs.\u241b[2J<U+E0041><U+200B>",
        ]
        assert "--yes" in shown.stderr
        (file,) = (await client.permissions.instructions(root=other.as_uri())).model.files[-1:]
        assert file.state == "untrusted"
        done = await shell.run("trust", str(other), "--yes")
        assert done.stdout.count("\ttrusted\n") == 2
        assert (await client.permissions.list(root=other.as_uri())).model.projects[0].trusted
        done = await shell.run("trust", str(other), "--withdraw")
        assert done.stdout.count("\tnot trusted\n") == 2
        with pytest.raises(ConflictError):
            await client.permissions.trust(other.as_uri(), "sha256:0")
        with pytest.raises(InvalidParamsError):
            await client.permissions.add("allow", "run", command="a && b")
        with pytest.raises(InvalidParamsError):
            await client.permissions.add("deny", "run", command="a", network="all")
        assert (await client.permissions.add("deny", paths=[".env"])).model.text == "deny * in .env"
