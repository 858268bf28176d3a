"""The tools that run commands, on real processes in the sandbox that works here."""

import os
import re
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from parley_daemon.adapters.supervision.supervisor import find_descendants
from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.policy.reach import opening_rules
from parley_daemon.core.agents.policy.withheld import denied_globs
from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import ChatFacts, Rule
from parley_daemon.core.agents.tools import ToolOutput
from parley_daemon.ports.sandbox import SandboxSettings
from parley_daemon.ports.tools import ToolInputError
from tests.support.sandbox.ordinary_user import skip_without
from tests.support.tools.file_rig import FileRig, Monitor

pytestmark = pytest.mark.slow


@pytest.fixture(params=["bwrap", "landlock", "none"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncGenerator[FileRig]:
    if request.param != "none":
        skip_without(request.param)
    rig = FileRig(tmp_path, sandbox=SandboxSettings(kind=request.param))
    assert (await rig.sandbox.probe()).kind == request.param
    async with rig.tasks.running():
        yield rig
    assert spawned() == []


def spawned() -> list[int]:
    """Return the processes below this one that are named as those of the tests."""
    return [pid for pid, name in find_descendants(os.getpid()).items() if name in ("sleep", "yes", "bash")]


def text_of(output: ToolOutput) -> str:
    assert isinstance(output.result, str)
    return output.result


async def test_a_result_has_the_output_and_the_exit_status(rig: FileRig) -> None:
    done = await rig.call("run", command="pwd; echo problem >&2")
    assert (done.outcome, text_of(done)) == ("ok", f"{rig.root}\nproblem\n[Exit status 0.]")
    failed = await rig.call("run", command="printf no-line-end; exit 3")
    assert (failed.outcome, text_of(failed)) == ("failed", "no-line-end\n[Exit status 3.]")


async def test_a_child_in_the_background_does_not_keep_the_call_and_is_ended(rig: FileRig) -> None:
    done = await rig.call("run", command="sleep 300 & echo hi")
    assert text_of(done).startswith("hi\n[Exit status 0. One process still ran")
    assert "ended: sleep" in text_of(done)
    assert spawned() == []


async def test_at_its_limit_a_command_is_ended_with_all_that_it_started(rig: FileRig) -> None:
    command = 'trap "" TERM; setsid sleep 99 & echo begun; wait'
    done = await rig.call("run", command=command, timeoutMs=3000)
    assert done.outcome == "timed_out"
    assert text_of(done).startswith("begun\n[Ended at the limit of 3000 ms.")
    assert spawned() == []


async def test_an_interrupted_command_ends_with_its_processes(rig: FileRig) -> None:
    async def run() -> None:
        await rig.call("run", command="setsid sleep 98 & echo x > begun; wait")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await wait_for(rig.root / "begun")
        tasks.cancel_scope.cancel()
    assert spawned() == []


async def wait_for(path: Path) -> None:
    with anyio.fail_after(30):
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.01)


async def test_of_a_long_output_both_ends_are_kept_and_all_of_it_can_be_read(rig: FileRig) -> None:
    done = await rig.call("run", command="echo first; seq 1 200000; echo last")
    text = text_of(done)
    assert len(text) <= 64 * 1024 + 300
    assert text.startswith("first\n1\n2\n")
    assert text.endswith("200000\nlast\n[Exit status 0.]")
    found = re.search(r'\[([\d,]+) bytes are left out; job_output \{"id": "(\w+)", "offset": (\d+)\}', text)
    assert found is not None
    head = text[: found.start()].rstrip("\n") + "\n"
    assert int(found[3]) == len(head)
    rest = text_of(await rig.call("job_output", id=found[2], offset=int(found[3])))
    assert rest.startswith(f"{int(head.splitlines()[-1]) + 1}\n")
    joined = "".join(rig.reported)
    tail = text[text.index("has them]\n") + len("has them]\n") :]
    assert joined.startswith(head)
    assert joined.endswith(tail)


async def test_endless_output_costs_little_and_is_bounded(rig: FileRig) -> None:
    before = resident()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    results: list[ToolOutput] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        results.append(await rig.call("run", command="yes | head -c 1G; echo end"))
        tasks.cancel_scope.cancel()
    (done,) = results
    assert text_of(done).endswith("end\n[Exit status 0.]")
    assert len(text_of(done)) < 65 * 1024
    assert len("".join(rig.reported)) < 512 * 1024
    assert resident() - before < 16 * 1024 * 1024
    assert ticks > 1000
    (kept,) = (rig.home / "data/outputs/a").iterdir()
    assert kept.stat().st_size == 8 * 1024 * 1024
    assert kept.stat().st_mode & 0o777 == 0o600


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_output_cannot_steer_a_terminal(rig: FileRig) -> None:
    command = r"printf '\033[31mred\033[0m \033]0;title\007 a\rb \xff\xfe \xe2\x80\xae ok\n'"
    done = await rig.call("run", command=command)
    assert text_of(done) == "red  a\nb \ufffd\ufffd  ok\n[Exit status 0.]"


async def test_a_failure_that_the_sandbox_causes_is_named(rig: FileRig) -> None:
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), 0.1)"
    is_open = rig.sandbox.state.kind == "none"
    network = text_of(await rig.call("run", command=f'python3 -c "{connect}"'))
    assert ("(the setting sandbox.network)" in network) != is_open
    outside = rig.home / "outside"
    outside.mkdir()
    files = text_of(await rig.call("run", command=f"echo x > {outside}/file"))
    assert outside.joinpath("file").exists() == is_open
    assert files.startswith("[Exit status 0.]") == is_open
    if rig.sandbox.state.kind == "landlock":  # with bubblewrap, folders around those of the chat are not seen
        assert "The sandbox lets commands write below" in files


async def test_a_command_fails_for_want_of_network_and_gets_it_by_the_rule_that_is_named(
    rig: FileRig,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f'import socket; socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 9)'
        command = f"python3 -c '{code}'"
        closed = await rig.call("run", command=command)
        is_closed = rig.sandbox.state.kind != "none"
        assert (closed.outcome == "failed") == is_closed
        (rule,) = opening_rules(command)
        named = (
            f"A person can open it for this command by the rule: {rule_text(rule)} (parley permission add)."
        )
        assert (named in text_of(closed)) == is_closed
        inspection = await rig.inspect("run", command=command)
        facts = ChatFacts("a", "auto", (str(rig.root),), True, rig.sandbox.state.kind, False, "")
        verdict = decide((rule,), facts, "run", "execute", inspection)
        context = replace(await rig.context(), network=verdict.network)
        opened = await (await rig.tool("run")).run({"command": command}, context, inspection, Monitor(), None)
        assert opened.result == "[Exit status 0.]"
    unreadable = text_of(await rig.call("run", command=f"X=1 {command}"))
    assert ("No rule can open it" in unreadable) == is_closed


async def test_what_rules_deny_is_kept_from_commands_or_asked_about(rig: FileRig) -> None:
    kind = rig.sandbox.state.kind
    (rig.root / "sub").mkdir()
    (rig.root / "sub/key").write_text("canary\n")
    (rig.root / "a.pem").write_text("canary\n")
    (rig.root / "lock").write_text("open\n")
    rules = (
        Rule("1", "deny", "read_file", paths=("*.pem", "sub/key")),
        Rule("2", "deny", "edit_file", paths=("lock",)),
    )
    facts = ChatFacts("a", "auto", (str(rig.root),), True, kind, False, "")
    command = (
        "cat a.pem sub/key; cat < sub/key; mv sub moved && cat moved/key; cp a.pem b && cat b;"
        " cat lock && echo no > lock; true"
    )
    args = {"command": command}
    for mode in ("auto", "plan"):
        facts = replace(facts, mode=mode)
        context = replace(await rig.context(), mode=mode, denied=denied_globs(rules, facts))
        inspection = await (await rig.tool("run")).inspect(args, context)
        verdict = decide(rules, facts, "run", "execute", inspection)
        text = text_of(await (await rig.tool("run")).run(args, context, inspection, Monitor(), None))
        if kind == "none" and mode == "plan":
            assert verdict.decision == "deny"
        elif kind == "bwrap" or mode == "plan":
            assert verdict.decision == ("allow" if mode == "auto" else "ask")
            assert "canary" not in text
            assert "open\n" in text
            assert "By rules, commands see nothing of" in text
            assert (rig.root / "sub/key").read_text() == "canary\n"
            assert (rig.root / "lock").read_text() == "open\n"
        else:
            assert verdict.decision == "ask"
            assert "a.pem" in inspection.title
            assert "rules deny that, and the sandbox cannot hide it" in inspection.title
            assert "canary" in text
            assert "the sandbox could not keep the command from it" in text
            (rig.root / "moved").rename(rig.root / "sub")
            (rig.root / "lock").write_text("open\n")


async def test_changed_files_are_reported_with_a_checkpoint(rig: FileRig) -> None:
    (rig.root / "old.txt").write_text("one\n", "utf-8")
    done = await rig.call("run", command="echo two > old.txt; echo three > new.txt")
    changes = sorted([(Path(one.path).name, one.change_type) for one in done.files])
    assert changes == [("new.txt", "added"), ("old.txt", "modified")]
    assert done.checkpoint_id is not None


async def test_an_approval_holds_for_the_script_that_was_shown(rig: FileRig) -> None:
    script = rig.root / "sub/x.sh"
    script.parent.mkdir()
    script.write_text("echo one\n", "utf-8")
    shown = await rig.inspect("run", command="cd sub && bash ./x.sh")
    script.write_text("echo two\n", "utf-8")
    later = await rig.inspect("run", command="cd sub && bash ./x.sh")
    assert [path for path, _ in shown.bound_to] == [str(script)]
    assert shown.bound_to != later.bound_to


async def test_a_command_does_not_begin_in_a_repository_that_a_project_contains_as_files(
    rig: FileRig,
) -> None:
    for name in ("objects", "refs", "sub"):
        (rig.root / "evil.git" / name).mkdir(parents=True)
    (rig.root / "evil.git/HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    for cwd in ("evil.git", "evil.git/sub"):
        with pytest.raises(ToolInputError, match="inner folder of a git repository"):
            await rig.inspect("run", command="git status", cwd=cwd)
    assert (await rig.inspect("run", command="git status")).cwd == str(rig.root)


async def test_arguments_that_make_no_sense_are_refused_with_a_sentence(rig: FileRig) -> None:
    os.mkdir(os.fsencode(rig.root) + b"/\xff")
    os.symlink(b"\xff", os.fsencode(rig.root) + b"/link")
    for args, words in (
        ({"command": "  "}, "blank"),
        ({"command": "true", "cwd": "/etc"}, "not below a folder of this chat"),
        ({"command": "true", "cwd": "missing"}, "not a folder"),
        ({"command": "true", "cwd": "link"}, "not UTF-8"),
        ({"command": "true", "cwd": "a\0b"}, "not UTF-8"),
        ({"command": "true", "timeoutMs": 600_001}, "timeoutMs"),
        ({"command": "true", "shell": "zsh"}, "shell"),
    ):
        with pytest.raises(ToolInputError, match=words):
            await rig.inspect("run", **args)
    gone = await rig.call("job_output", id="../../keys")
    assert (gone.outcome, "There is no job" in text_of(gone)) == ("failed", True)


async def test_a_job_goes_on_is_read_piece_by_piece_and_is_stopped(rig: FileRig) -> None:
    command = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; sleep 300"
    started = await rig.call("run", command=command, background=True)
    (id,) = re.findall(r'job_output \{"id": "(\w+)"\}', text_of(started))
    first = await rig.call("job_output", id=id, waitMs=60_000)
    assert text_of(first).startswith(f"one\n[Job {id}: running.")
    (rig.root / "go").touch()
    second = await rig.call("job_output", id=id, waitMs=60_000)
    assert text_of(second).startswith(f"two\n[Job {id}: running.")
    assert id in text_of(await rig.call("job_output"))
    stopped = await rig.call("job_stop", id=id)
    assert text_of(stopped) == f"Job {id}: stopped with exit status 143."
    other = await rig.call("job_output", chat_id="b", id=id)
    assert other.outcome == "failed"
    assert spawned() == []


async def test_jobs_are_few_and_end_with_their_chat(rig: FileRig) -> None:
    for _ in range(8):
        assert (await rig.call("run", command="sleep 300", background=True)).outcome == "ok"
    ninth = await rig.call("run", command="sleep 300", background=True)
    assert (ninth.outcome, "Too many jobs run" in text_of(ninth)) == ("failed", True)
    await rig.toolbox.forget("a")
    assert spawned() == []
    assert text_of(await rig.call("job_output")) == "This chat has no jobs."
    assert not (rig.home / "data/outputs/a").exists()


async def test_what_was_put_back_at_the_end_of_a_job_is_said_to_people_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig = FileRig(tmp_path, sandbox=SandboxSettings(kind="none"))
    async with rig.tasks.running():
        started = await rig.call("run", command="sleep 300", background=True)
        (id,) = re.findall(r'job_output \{"id": "(\w+)"\}', text_of(started))
        policy = rig.root / ".parley/permissions.toml"
        policy.parent.mkdir()
        policy.write_text("# of a person\n", "utf-8")
        job = await rig.toolbox.stop_job("a", id)
    assert job is not None
    (note,) = job.notes
    assert f"The command changed {policy.parent}, which is protected. It was removed" in note
    assert Path(note.rpartition("kept in ")[2].removesuffix(".")).read_text("utf-8") == "# of a person\n"
    assert note in caplog.text


@pytest.mark.parametrize("kind", ["bwrap", "landlock", "none"])
async def test_configuration_and_hooks_of_git_stay_as_they_were(kind: str, tmp_path: Path) -> None:
    if kind != "none":
        skip_without(kind)
    rig = FileRig(tmp_path, sandbox=SandboxSettings(kind=kind))  # pyright: ignore[reportArgumentType]
    await rig.call("run", command="git init -q . && git init -q inner")
    policy = rig.root / ".parley/permissions.toml"
    policy.parent.mkdir()
    policy.write_text("# mine\n", "utf-8")
    protected = [rig.root / ".git/config", rig.root / "inner/.git/config", policy]
    before = [path.read_bytes() for path in protected]
    hooks = rig.root / ".git/hooks"
    listed = sorted(path.name for path in hooks.iterdir())
    for command in (
        "git config core.fsmonitor ./evil",
        "echo evil > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit",
        "rm -rf .git/hooks; mkdir .git/hooks; echo evil > .git/hooks/post-checkout",
        "mv inner inner2; mkdir -p inner/.git; echo evil > inner/.git/config",
        "echo evil > .parley/permissions.toml; rm -f .parley/permissions.toml",
        "rm -rf .parley; ln -s /etc .parley",
        "mv .git .git2; ln -s .git2 .git; echo evil >> .git2/config",
    ):
        done = await rig.call("run", command=command)
        assert [path.read_bytes() for path in protected] == before, command
        assert sorted(path.name for path in hooks.iterdir()) == listed, command
        assert done.outcome == "failed" or "protected" in text_of(done), text_of(done)


async def test_a_demanded_sandbox_that_is_not_there_refuses_every_command(tmp_path: Path) -> None:
    rig = FileRig(tmp_path, sandbox=SandboxSettings(kind="none", is_required=True))
    done = await rig.call("run", command="echo x > ran")
    assert (done.outcome, text_of(done)) == (
        "failed",
        "The configuration demands a sandbox, and there is none. The configuration turns the sandbox off.",
    )
    assert not (rig.root / "ran").exists()
