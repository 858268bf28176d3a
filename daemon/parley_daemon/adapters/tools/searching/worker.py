"""The process that lists and searches folders, so that neither a large tree nor a pattern that never ends
holds up the daemon.

It reads one request from standard input, writes one answer to standard output, and ends. It stops by itself
shortly before its time is over and answers what it has; if a pattern keeps it from that, the kernel ends it.
"""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from time import monotonic

import msgspec

from parley_daemon.adapters.folders.walking import Entry, open_below, walk
from parley_daemon.adapters.tools.files.texts import decode, printable
from parley_daemon.core.agents.globs import matches_any, matches_below, parse_path, split_path
from parley_daemon.core.comparing import with_line_feeds

MAX_FILE = 8 * 1024 * 1024
"""Bytes of a file that is searched."""

SHOWN = 300
"""Characters of a line that are shown, around the match."""

MAX_ROWS = 50_000
"""Lines of ripgrep's output that are read."""

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Request(msgspec.Struct, frozen=True):
    """What to do. `pattern` None: list. `top` is a folder, or with `name` one file in it.

    `texts` are the texts of open documents by their paths relative to `top`, which replace the files there.
    `seconds`: when to stop. `hidden` are identities (device, inode) of what is never shown. `withheld` are
    absolute globs of what rules keep from this call.
    """

    top: str
    name: str | None = None
    pattern: str | None = None
    literal: bool = False
    glob: str | None = None
    limit: int = 100
    seconds: float = 25.0
    texts: dict[str, str] = {}
    ripgrep: str | None = None
    hidden: frozenset[tuple[int, int]] = frozenset()
    withheld: tuple[str, ...] = ()


class Hit(msgspec.Struct, frozen=True):
    """A path, and for a search its line (from 1) and its text."""

    path: str
    line: int = 0
    text: str = ""


class Result(msgspec.Struct):
    """The answer. `problem`: the request cannot be done, a sentence. `has_more`: beyond the limit."""

    hits: list[Hit] = []
    has_more: bool = False
    is_late: bool = False
    too_large: int = 0
    is_withheld: bool = False
    problem: str | None = None


def main() -> None:
    """Answer the request on standard input."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    # No handler: the kernel ends the process even in the middle of a regular expression.
    signal.setitimer(signal.ITIMER_REAL, request.seconds + 8)
    os.nice(5)
    sys.stdout.buffer.write(msgspec.json.encode(answer(request)))


def answer(request: Request) -> Result:
    """Return the answer to a request."""
    result = Result(hits=[])
    try:
        found = _list(request, result) if request.pattern is None else _search(request, result)
        for hit in found:
            if len(result.hits) == request.limit:
                result.has_more = True
                break
            result.hits.append(hit)
    except re.error as error:
        result.problem = (
            f"The pattern is not a valid regular expression: {error}. Set literal to search for it."
        )
    except OSError as error:
        result.problem = f"It cannot be read: {error.strerror}."
    return result


def _list(request: Request, result: Result) -> Generator[Hit]:
    end = monotonic() + request.seconds
    seen: set[str] = set()
    for entry in walk(request.top, request.hidden):
        if monotonic() > end:
            result.is_late = True
            return
        if _is_wanted(request, result, entry.path):
            seen.add(entry.path)
            mark = {"folder": "/", "link": "@"}.get(entry.kind, "")
            if request.glob is None or entry.kind != "folder":
                yield Hit(_shown(entry.path) + mark)
    for path in sorted(request.texts):
        if path not in seen and _is_wanted(request, result, path):
            yield Hit(_shown(path))


def _is_wanted(request: Request, result: Result, path: str) -> bool:
    if request.withheld and matches_any(request.withheld, f"{request.top}/{path}"):
        result.is_withheld = True  # whatever is in it: otherwise, patterns could find that out
        return False
    return request.glob is None or matches_below(parse_path(request.glob), split_path(path), 0)


def _search(request: Request, result: Result) -> Generator[Hit]:
    assert request.pattern is not None
    source = re.escape(request.pattern) if request.literal else request.pattern
    pattern: re.Pattern[str] | None = None
    try:
        pattern = re.compile(source, re.MULTILINE)
    except re.error:
        if request.ripgrep is None:  # whose expressions are a little different
            raise
    for path, text in sorted(request.texts.items()):
        if pattern is not None and _is_wanted(request, result, path):
            yield from _matches(pattern, path, text)
    if request.ripgrep is not None:
        yield from _ripgrep(request, result, request.ripgrep)
    elif pattern is not None:
        yield from _search_files(request, result, pattern)


def _search_files(request: Request, result: Result, pattern: re.Pattern[str]) -> Generator[Hit]:
    end = monotonic() + request.seconds
    walked = walk(request.top, request.hidden) if request.name is None else _one(request.top, request.name)
    for entry in walked:
        if monotonic() > end:
            result.is_late = True
            return
        if entry.kind != "file" or entry.path in request.texts:
            continue
        if not _is_wanted(request, result, entry.path):
            continue
        if entry.size > MAX_FILE:
            result.too_large += 1
            continue
        if (text := _text(request, entry.name, entry.folder)) is not None:
            yield from _matches(pattern, entry.path, text)


def _one(top: str, name: str) -> Generator[Entry]:
    folder = open_below(top, "")
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        yield Entry(name, name, "file", status.st_size, folder)
    finally:
        os.close(folder)


def _text(request: Request, name: str, folder: int) -> str | None:
    """Return a file as text, None if it is binary or cannot be read."""
    try:
        with open(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in request.hidden:
                return None
            found = decode(file.read(MAX_FILE))
    except OSError:
        return None
    return None if found is None else found.text


def _matches(pattern: re.Pattern[str], path: str, text: str) -> Generator[Hit]:
    """Yield the lines in which matches begin."""
    text = with_line_feeds(text)
    line, counted_to, last = 1, 0, 0
    for match in pattern.finditer(text):
        at = match.start()
        line += text.count("\n", counted_to, at)
        counted_to = at
        if line == last or (at == len(text) and text.endswith("\n")):
            continue
        last = line
        begin = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        yield Hit(_shown(path), line, _around(text[begin : end if end >= 0 else len(text)], at - begin))


def _around(line: str, at: int) -> str:
    line = printable(line)
    if len(line) <= SHOWN:
        return line
    begin = max(min(at - SHOWN // 3, len(line) - SHOWN), 0)
    end = begin + SHOWN
    return f"{'…' if begin else ''}{line[begin:end]}{'…' if end < len(line) else ''}"


class _Text(msgspec.Struct):
    text: str = ""


class _Submatch(msgspec.Struct):
    start: int


class _Match(msgspec.Struct):
    path: _Text
    line_number: int | None = None
    submatches: list[_Submatch] = []


class _Row(msgspec.Struct):
    """A line of ripgrep's JSON (grep_printer, "JSON")."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")


def _ripgrep(request: Request, result: Result, program: str) -> Generator[Hit]:
    """Yield the hits of ripgrep. Each is looked up again without following links: ripgrep opens by name."""
    argv = [program, "--json", "--no-config", "--no-messages", "--hidden", "--glob=!.git", "--sort=path"]
    argv += [f"--max-filesize={MAX_FILE}", *(["-F"] if request.literal else [])]
    argv += ["-e", request.pattern or "", "--", request.name or "."]
    folder = open_below(request.top, "")
    os.fchdir(folder)
    end, texts = monotonic() + request.seconds, dict[str, list[str] | None]()
    null = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=null, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        try:
            for number, line in enumerate(run.stdout):
                if monotonic() > end or number > MAX_ROWS:
                    result.is_late = True
                    return
                row = msgspec.json.decode(line, type=_Row)
                if row.type == "match" and (hit := _checked(request, result, row.data, texts)) is not None:
                    yield hit
            problem = run.stderr.read(2_000).decode("utf-8", "replace").strip()
            if run.wait() == 2 and problem and not result.hits:
                raise re.error(problem)
        finally:
            run.kill()


def _checked(
    request: Request, result: Result, data: msgspec.Raw, texts: dict[str, list[str] | None]
) -> Hit | None:
    """Return a hit of ripgrep with what lies there, None if it does not count."""
    match = msgspec.json.decode(data, type=_Match)
    path, line = match.path.text.removeprefix("./"), match.line_number
    if not path or line is None or path in request.texts or not _is_wanted(request, result, path):
        return None
    if path not in texts:
        texts.clear()  # files come one after the other
        texts[path] = _lines_at(request, path)
    lines = texts[path]
    if lines is None or line > len(lines):
        return None
    return Hit(
        _shown(path), line, _around(lines[line - 1], match.submatches[0].start if match.submatches else 0)
    )


def _lines_at(request: Request, path: str) -> list[str] | None:
    place, _, name = path.rpartition("/")
    try:
        folder = open_below(request.top, place)
    except OSError:
        return None
    try:
        text = _text(request, name, folder)
    finally:
        os.close(folder)
    # ripgrep ends lines at \n alone.
    return None if text is None else [line.rstrip("\r") for line in text.split("\n")]


def _shown(path: str) -> str:
    """Return a path that can be sent as JSON; bytes that are not UTF-8 are written as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


if __name__ == "__main__":
    main()
