"""A tool of a package in the daemon: its faults stay with it, and its words are not taken as they are."""

import asyncio
import inspect
import threading
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from parley_daemon.adapters.tools.packages import thread
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import FileChange, PathUse
from parley_daemon.tool_api import (
    CallContext,
    CallMonitor,
    Inspection,
    Preview,
    ToolFailedError,
    ToolInputError,
    ToolOutput,
    ToolRun,
    ToolSpec,
    file_part,
    text_part,
    tool,
)
from tests.support.tools.package_rig import PackageRig


class Nothing(msgspec.Struct):
    """No arguments."""


class OnePath(msgspec.Struct):
    """One path."""

    path: str


class Given:
    """A tool whose inspection and output a test gives, or functions that return them."""

    def __init__(self, inspection: Any = None, output: Any = None) -> None:
        self.spec = ToolSpec("given", "Given", "Does as it is told.", {"type": "object"}, "execute")
        self._inspection: Any = inspection or Inspection("Given")
        self._output: Any = output

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        said: Any = self._inspection
        return said(args) if inspect.isfunction(said) else said

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        output: Any = self._output
        return await output(args, monitor) if inspect.isfunction(output) else output

    def sandbox(self, context: CallContext) -> None:
        return None


@pytest.fixture
def rig(tmp_path: Path) -> PackageRig:
    return PackageRig(tmp_path / "home")


def raising(error: BaseException) -> Any:
    async def run(args: Any, monitor: CallMonitor) -> ToolOutput:
        raise error

    return run


FAULT = "given has failed because of a fault in the package parleyd-tried. The daemon's log has the details."


@pytest.mark.parametrize(
    "error",
    [ValueError("the key is s3cret"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_tool_raises_is_a_result_that_names_the_package(
    rig: PackageRig, error: BaseException
) -> None:
    def look(args: Any) -> Inspection:
        raise error

    for broken in (Given(output=raising(error)), Given(look)):
        output = await rig.call(broken)
        assert (output.outcome, output.result) == ("failed", FAULT)

    @tool(kind="read")
    def blocking(args: Nothing) -> str:
        """Raises in a thread."""
        raise error

    output = await rig.call(blocking)
    assert output.result == FAULT.replace("given", "blocking")
    assert (await rig.call(Given(output=ToolOutput("fine")))).result == "fine"


async def test_what_a_tool_says_to_the_model_reaches_it(rig: PackageRig) -> None:
    assert (await rig.call(Given(output=raising(ToolFailedError("No such city."))))).result == "No such city."
    assert (await rig.call(Given(output=raising(ToolInputError("n is odd."))))).result == "n is odd."


@pytest.mark.parametrize(
    "inspection",
    [
        "a text",
        Inspection("x", asks="plan"),
        Inspection("x", asks="question", preview=Preview(questions=[{"no": "text"}])),
        Inspection("x", preview=Preview(command="x" * 300_000)),
        Inspection("x", paths=tuple([PathUse(f"/{n}", "read", "root") for n in range(101)])),
        Inspection("x", kind="harmless"),  # pyright: ignore[reportArgumentType]
        Inspection(3),  # pyright: ignore[reportArgumentType]
    ],
)
async def test_an_inspection_that_cannot_be_is_a_fault(rig: PackageRig, inspection: Any) -> None:
    assert (await rig.call(Given(inspection))).result == FAULT


async def test_an_output_cannot_change_the_mode_or_claim_that_something_can_be_undone(
    rig: PackageRig,
) -> None:
    changed = FileChange(str(rig.root / "a"), "modified", 1, 1, restorable=True)
    said = ToolOutput("done", files=(changed,), checkpoint_id="forged", mode="auto")
    output = await rig.call(Given(output=said))
    assert (output.mode, output.checkpoint_id) == (None, None)
    assert output.files == (msgspec.structs.replace(changed, restorable=False),)
    assert (await rig.call(Given(output="a text"))).result == FAULT
    odd: Any = ToolOutput("x", "fine")  # pyright: ignore[reportArgumentType]
    assert (await rig.call(Given(output=odd))).result == FAULT


async def test_paths_are_where_they_lead_whatever_the_package_says(rig: PackageRig) -> None:
    (rig.root / "link").symlink_to("/etc/hostname")
    (rig.root / ".git").mkdir()
    uses = (
        PathUse("link", "read", "root"),
        PathUse(".git/config", "edit", "root"),
        PathUse("a", "edit", "elsewhere"),
    )
    inspection = await rig.inspect(Given(Inspection("x", paths=uses)))
    root = str(rig.root)
    assert inspection.paths == (
        PathUse("/etc/hostname", "read", "elsewhere"),
        PathUse(f"{root}/.git/config", "edit", "protected", root),
        PathUse(f"{root}/a", "edit", "root", root),
    )
    assert inspection.preview.paths == ("/etc/hostname", f"{root}/.git/config", f"{root}/a")
    own = Inspection("x", paths=(PathUse(str(rig.root.parent / "data/parley.db"), "read", "root"),))
    assert "belongs to parleyd itself" in (await rig.call(Given(own))).result


async def test_a_tool_gets_copies_of_the_arguments(rig: PackageRig) -> None:
    args = {"list": [1]}

    async def run(given: Any, monitor: CallMonitor) -> ToolOutput:
        given["list"].append(2)
        return ToolOutput(given)

    guarded = rig.guard(Given(output=run))
    inspection = await guarded.inspect(args, rig.context)
    output = await guarded.run(args, rig.context, inspection, rig.monitor, None)
    assert (output.result, args) == ({"list": [1, 2]}, {"list": [1]})


async def test_results_have_the_limits_of_all_tools(rig: PackageRig) -> None:
    long = "\n".join([f"line {number}" for number in range(100_000)])
    result = (await rig.call(Given(output=ToolOutput(long)))).result
    assert len(result) < 66_000
    assert result.startswith("line 0\n")
    assert result.endswith("line 99999")
    id = result.partition('job_output {"id": "')[2].partition('"')[0]
    path = rig.outputs.path("a", id)
    assert path is not None
    assert path.read_text("utf-8") == long
    listed = (await rig.call(Given(output=ToolOutput(list(range(100_000)))))).result
    assert listed.startswith("[0,1,2,")
    assert "bytes are left out" in listed
    parts = [text_part("x" * 100_000), file_part(b"\x89PNG", "image/png", "a chart")]
    text, image = (await rig.call(Given(output=ToolOutput(parts)))).result
    assert len(text["text"]) < 66_000
    assert image == {"type": "file", "mediaType": "image/png", "data": "iVBORw==", "title": "a chart"}
    large = [file_part(b"x" * 4 * 2**20, "image/png")]
    assert "it may have 4,194,304" in (await rig.call(Given(output=ToolOutput(large)))).result


RETURNED: list[tuple[Any, Any]] = [
    (None, "Done."),
    ({"n": 1, 2: ("a", {"b"})}, {"n": 1, "2": ["a", ["b"]]}),
    (OnePath("x"), {"path": "x"}),
    ("half \ud800", "half \ufffd"),
    (object(), "The tool has returned what is not JSON (object"),
    (float("nan"), None),
    ([[[]] * 2] * 2, [[[], []], [[], []]]),
]


@pytest.mark.parametrize(("returned", "result"), RETURNED)
async def test_what_a_function_returns_becomes_json(rig: PackageRig, returned: Any, result: Any) -> None:
    @tool(kind="read")
    async def returning(args: Nothing) -> Any:
        """Returns it."""
        return returned

    found = (await rig.call(returning)).result
    assert found == result or str(found).startswith(str(result))


async def test_a_blocking_function_can_report_and_is_told_that_it_was_given_up(
    rig: PackageRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "GRACE_SECONDS", 0.01)
    begun, told, tried = threading.Event(), threading.Event(), list[str]()

    @tool(kind="edit", edits=["path"])
    def stubborn(args: OnePath, run: ToolRun) -> str:
        """Goes on after it was cancelled."""
        run.report("begun\x1b[31m")
        run.write_text(args.path, "first\n")
        begun.set()
        while not run.is_cancelled:
            told.wait(0.001)
        run.report("late")
        try:
            run.write_text(args.path, "late\n")
        except ToolFailedError as error:
            tried.append(str(error))
        told.set()
        return "never seen"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: rig.call(stubborn, path="a.txt"))
        await anyio.to_thread.run_sync(begun.wait, 30)
        tasks.cancel_scope.cancel()
    await anyio.to_thread.run_sync(told.wait, 30)
    assert tried == ["The call has ended: it was cancelled, or took too long."]
    assert (rig.root / "a.txt").read_text() == "first\n"
    assert "".join(rig.monitor.reported) == "begun"
    ((change,), checkpoint_id) = rig.monitor.changes
    assert (change.path, change.change_type, change.restorable) == (str(rig.root / "a.txt"), "added", True)
    assert checkpoint_id is not None


async def test_a_tool_that_blocks_its_thread_delays_nobody_else(
    rig: PackageRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread, "GRACE_SECONDS", 0.01)
    release, begun = threading.Event(), anyio.Event()
    loop = asyncio.get_running_loop()

    async def block(args: Any, monitor: CallMonitor) -> ToolOutput:
        loop.call_soon_threadsafe(begun.set)
        release.wait(30)
        return ToolOutput("late")

    other = PackageRig(rig.root.parent / "other")
    try:
        with anyio.move_on_after(30) as limit:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rig.call, Given(output=block))
                await begun.wait()
                assert (await other.call(Given(output=ToolOutput("fine")))).result == "fine"
                tasks.cancel_scope.cancel()
        assert not limit.cancelled_caught
    finally:
        release.set()
    assert (await rig.call(Given(output=ToolOutput("again")))).result == "again"


async def test_calls_that_do_not_end_are_limited(rig: PackageRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread, "GRACE_SECONDS", 0.01)
    release = threading.Event()
    begun = threading.Semaphore(0)

    @tool(kind="read")
    def endless(args: Nothing) -> None:
        """Never looks whether it was cancelled."""
        begun.release()
        release.wait(60)

    refused: list[str] = []
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(thread.MAX_CALLS):
                tasks.start_soon(rig.call, endless)
            for _ in range(thread.MAX_CALLS):
                await anyio.to_thread.run_sync(begun.acquire, True, 30)
            refused.append(str((await rig.call(endless)).result))
            tasks.cancel_scope.cancel()
        assert refused[0].startswith(f"{thread.MAX_CALLS} calls of the tools of parleyd-tried are running")
        assert "are running" in (await rig.call(endless)).result
    finally:
        release.set()


async def test_only_declared_files_are_written_and_changes_are_told(rig: PackageRig) -> None:
    (rig.root / "a.txt").write_text("one\n")

    @tool(kind="edit", edits=["path"])
    def append(args: OnePath, run: ToolRun) -> list[str]:
        """Writes twice, and tries another file."""
        run.write_text(args.path, run.read_text(args.path) + "two\n")
        run.write_text(args.path, run.read_text(args.path) + "three\n")
        try:
            run.write_text("b.txt", "x")
        except ToolFailedError as error:
            return [str(error), str(run.path(args.path)), *map(str, run.roots)]
        return []

    output = await rig.call(append, path="a.txt")
    refusal, path, root = output.result
    assert "leads to another file" in refusal
    assert (path, root) == (str(rig.root / "a.txt"), str(rig.root))
    (change,) = output.files
    assert (change.additions, change.deletions, change.restorable) == (2, 0, True)
    assert (rig.root / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert not (rig.root / "b.txt").exists()

    @tool(kind="read", reads=["path"])
    def sneaky(args: OnePath, run: ToolRun) -> None:
        """Writes what it said it would read."""
        run.write_text(args.path, "x")

    output = await rig.call(sneaky, path="a.txt")
    assert output.result == "a.txt was not declared as a file that the call changes."
