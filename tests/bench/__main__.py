"""`python -m tests.bench`: measure a real daemon process. docs/performance.md explains the table."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import (
    agents,
    contexts,
    dialects,
    documents,
    large_chats,
    listeners,
    long_chats,
    mcp_calls,
    memory,
    searching,
    startup,
    storage,
    streaming,
)
from tests.bench.processes import Noise, Workshop, workshop
from tests.bench.report import Row, table

TESTS: dict[str, Callable[[Workshop], list[Row]]] = {
    "a": startup.measure,
    "b": storage.create,
    "c": streaming.pace,
    "d": streaming.flood,
    "e": streaming.concurrent,
    "f": storage.many,
    "g": streaming.interrupt,
    "i": memory.flat,
    "j": listeners.cost,
    "k": dialects.measure,
    "l": large_chats.measure,
    "m": long_chats.measure,
    "o": documents.measure,
    "p": mcp_calls.measure,
    "s": searching.measure,
    "t": agents.measure,
    "x": contexts.measure,
}
_LONG = ("i",)
_QUIET = 10.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples, under a minute")
    parser.add_argument("--long", action="store_true", help="also i, memory over 10,000 turns: minutes")
    parser.add_argument(
        "--only", metavar="TESTS", help=f"some of {''.join(TESTS)}, such as cd (h comes with f)"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to a file")
    parser.add_argument(
        "--dir", metavar="DIR", type=Path, default=Path("build"), help="where chats are stored"
    )
    return parser.parse_args()


def main() -> None:
    """Run the tests."""
    arguments = _arguments()
    wanted = (arguments.only or "".join(TESTS)).replace("h", "f")
    names = [
        name for name in TESTS if name in wanted and (arguments.long or arguments.only or name not in _LONG)
    ]
    rows: list[Row] = []
    noise: dict[str, float] = {}
    start = time.monotonic()
    with workshop(arguments.dir, quick=arguments.quick) as shop:
        for name in names:
            meter = Noise()
            rows += TESTS[name](shop)
            noise[name] = meter.percent()
            print(f"{name} done, {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n{os.cpu_count()} cores, Python {platform.python_version()}\n\n{table(rows)}\n")
    shown = ", ".join(f"{name} {percent:.0f}" for name, percent in noise.items())
    print(f"CPU used by other processes meanwhile, % of a core: {shown}.")
    if max(noise.values()) > _QUIET:
        print("The machine was not quiet: read ratios, not figures.")
    short = [f"{row.test}: {row.what}" for row in rows if row.verdict == "SHORT"]
    print(f"Short of their marks: {'; '.join(short) or 'none'}.")
    if arguments.json is not None:
        record = {"rows": [row.to_json() for row in rows], "foreignCpuPercent": noise}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
