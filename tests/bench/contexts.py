"""x: the index of a context: a million lines indexed, searched, changed and looked at again.

The lines are Python's own library, as often as it takes. The last figures are of many small files.
"""

import random
import re
import sysconfig
import tempfile
import time
from pathlib import Path

import anyio

from parley_daemon.ports.context import ContextScope
from tests.bench.flow import median, percentile
from tests.bench.processes import Workshop
from tests.bench.report import Row
from tests.support.context import ContextRig, running_context
from tests.support.git_repositories import new_repository

_SEED = 7
_FILES = 20_000
_WORDS = re.compile(r"[A-Za-z_]{3,}")
_LEFT_OUT = ("site-packages", "__pycache__", "dist-packages")


def measure(shop: Workshop) -> list[Row]:
    """Index two folders in a temporary place."""
    lines = 100_000 if shop.quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=shop.place().data_dir.parent) as folder:
        return anyio.run(_measure, Path(folder), lines, 100 if shop.quick else 500)


def _texts() -> list[tuple[str, str]]:
    top = Path(sysconfig.get_path("stdlib"))
    return [
        (str(path.relative_to(top)), path.read_text("utf-8", "replace"))
        for path in sorted(top.rglob("*.py"))
        if not any(part in _LEFT_OUT for part in path.parts) and path.stat().st_size < 2**20
    ]


def _fill(root: Path, lines: int) -> tuple[int, int, list[str]]:
    """Write a repository; return its lines, its bytes, and questions: words that follow each other in it."""
    dice = random.Random(_SEED)
    written = size = copy = 0
    texts = _texts()
    while written < lines:
        for name, text in texts:
            path = root / f"copy_{copy}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            written += text.count("\n")
            size += len(text.encode())
            if written >= lines:
                break
        copy += 1
    questions: list[str] = []
    while len(questions) < 1_000:
        words = _WORDS.findall(dice.choice(texts)[1])
        if len(words) > 10:
            at = dice.randrange(len(words) - 8)
            questions.append(" ".join(words[at : at + dice.choice((1, 2, 4, 6, 8))]))
    return written, size, questions


async def _measure(folder: Path, lines: int, times: int) -> list[Row]:
    root = new_repository(folder / "large", {})
    written, size, questions = _fill(root, lines)
    async with running_context(folder) as rig:
        begun = time.monotonic()
        await rig.wait_until_ready(root)
        cold = time.monotonic() - begun
        await anyio.sleep(1)  # a second look at all files follows
        memory = _peak(rig)
        one = [await _time(rig, root, [question]) for question in questions[:times]]
        four = [await _time(rig, root, questions[at : at + 4]) for at in range(0, times, 4)]
        seen = [await _time_save(rig, root, number) for number in range(10)]
        (status,) = await rig.index.status([str(root)])
    what = f"{written:,} lines, {size / 1e6:.0f} MB"
    rows = [
        Row("x", f"{what}: indexed", "s", cold, 30),
        Row("x", "the same: the worker's peak of memory", "MiB", memory, 60),
        Row("x", "the same: index, relative to the source", "times", status.bytes / size, 1),
        Row("x", "search there, one phrasing, p50", "ms", median(one), 10),
        Row("x", "the same, p99", "ms", percentile(one, 99), 30),
        Row("x", "search there, four phrasings, p50", "ms", median(four)),
        Row("x", "the same, p99", "ms", percentile(four, 99)),
        Row("x", "saved file: written to found there, slowest of 10", "s", max(seen), 1),
    ]
    return [*rows, await _look_again(folder)]


async def _time(rig: ContextRig, root: Path, queries: list[str]) -> float:
    scope = ContextScope("local", (str(root),))
    begun = time.perf_counter()
    await rig.index.search(scope, queries, limit=10, max_bytes=16_000)
    return (time.perf_counter() - begun) * 1000


async def _time_save(rig: ContextRig, root: Path, number: int) -> float:
    name = root / "copy_0" / "argparse.py"
    name.write_text(f"saved_just_now_{number} = 1\n", "utf-8")
    begun = time.monotonic()
    while not await rig.paths(root, f"saved_just_now_{number}", limit=1):  # noqa: ASYNC110
        await anyio.sleep(0.005)
    return time.monotonic() - begun


async def _look_again(folder: Path) -> Row:
    """Index many small files, and look at them again in a new worker."""
    root = new_repository(folder / "many", {})
    for number in range(_FILES):
        path = root / f"folder_{number // 100}" / f"file_{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"value_{number} = {number}\n")
    async with running_context(folder) as rig:
        await rig.wait_until_ready(root)
    async with running_context(folder) as rig:
        begun = time.monotonic()
        await rig.wait_until_ready(root)
        again = time.monotonic() - begun
    return Row("x", f"{_FILES:,} unchanged files, looked at again with the worker's start", "s", again, 2)


def _peak(rig: ContextRig) -> float:
    text = Path(f"/proc/{rig.index.worker_pid}/status").read_text("utf-8")
    return int(re.findall(r"VmHWM:\s+(\d+)", text)[0]) / 1024
