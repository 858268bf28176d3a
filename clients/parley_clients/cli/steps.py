"""The steps of an agent turn in words: what a call does, what came of it, what it printed.

What is shown to a person who decides must be what happens: `visible` shows every character that is invisible
or reorders text. Output of tools is only read; `clean_output` leaves out the colours that programs print.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from parley_clients.cli.messages import escape_controls, lines_of, one_line
from parley_clients.results import Json

_MAIN = ("command", "pattern", "path", "from", "url", "query", "name", "task", "jobId", "id")
"""The arguments that say most, in this order."""

_BULK = ("oldText", "newText", "content", "patch", "plan")
"""The arguments that hold what is written; a diff shows it."""

_INVISIBLE = ("Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")
"""The categories of Unicode of formats, unassigned characters, surrogates and blanks other than the space."""

_BLANK_LETTERS = frozenset(
    [
        *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0",
        *map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))),  # they select a variant of a character
    ]
)
"""Letters and marks of other categories that look like nothing."""

_LONG = 60
_TRANSCRIPT_LINES = 8
_MAX_ARGS = 300

# Escape sequences: OSC with its end, CSI, and the short ones.
_ESCAPE_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-Za-z]|\x1b[=>78]"
)


def visible(text: str) -> str:
    """Return a text in which nothing is invisible: controls, formats such as bidi marks, and odd blanks.

    Line feeds and tabs are kept.
    """
    return text if text.isascii() and text.isprintable() else escape_controls("".join(map(_shown, text)))


def _shown(char: str) -> str:
    if char == "\r":
        return "␍"
    if char in "\n\t " or (unicodedata.category(char) not in _INVISIBLE and char not in _BLANK_LETTERS):
        return char
    return f"<U+{ord(char):04X}>"


def visible_line(text: str) -> str:
    """Return a text on one line in which nothing is invisible."""
    return visible(text.replace("\n", "␊").replace("\t", " "))


def clean_output(text: str) -> str:
    """Return what a program printed without its escape sequences; of an overwritten line the last version."""
    plain = _ESCAPE_SEQUENCE.sub("", text)
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in plain.split("\n")]
    return escape_controls("\n".join(lines))


# -------------------------------------------------------------------------------- calls


def describe_args(args: Any) -> str:
    """Return the arguments of a call in a line: the one that says most, then the other short ones."""
    if not isinstance(args, dict):
        return "" if args is None else visible_line(json.dumps(args, ensure_ascii=False))[:_MAX_ARGS]
    fields = cast("Json", args)
    main = next((name for name in _MAIN if isinstance(fields.get(name), str)), None)
    words = [] if main is None else [_shown_value(main, fields[main])]
    for name, value in fields.items():
        if name != main and _is_short(name, value):
            shown = json.dumps(value) if isinstance(value, bool) else str(value)
            words.append(visible_line(f"{name}={shown}"))
    return "  ".join(words)[:_MAX_ARGS]


def has_hidden_args(args: Any) -> bool:
    """Return whether `describe_args` leaves out a part of the arguments of a call."""
    if not isinstance(args, dict):
        return args is not None and len(json.dumps(args, ensure_ascii=False)) > _MAX_ARGS
    fields = cast("Json", args)
    main = next((name for name in _MAIN if isinstance(fields.get(name), str)), None)
    is_long = len(describe_args(args)) >= _MAX_ARGS
    return is_long or any(name != main and not _is_short(name, value) for name, value in fields.items())


def _is_short(name: str, value: Any) -> bool:
    is_plain = name not in _BULK and isinstance(value, int | float | str)
    return is_plain and len(str(value)) <= _LONG and "\n" not in str(value)


def _shown_value(name: str, value: str) -> str:
    return short_path(value) if name == "path" and value.startswith("/") else visible_line(value)


def result_text(result: Any) -> str:
    """Return the text of a result: a string, the texts of its parts, or its JSON."""
    if isinstance(result, str):
        return result
    if isinstance(result, list):
        parts = [cast("Json", one) for one in cast("list[object]", result) if isinstance(one, dict)]
        if len(parts) == len(cast("list[object]", result)) and all("type" in part for part in parts):
            return "\n".join([part.get("text") or _file_name(part) for part in parts])
    reports = cast("list[Json]", result if isinstance(result, list) else [result])
    if reports and all(map(_is_report, reports)):
        return "\n".join(map(_report_text, reports))
    return "" if result is None else json.dumps(result, ensure_ascii=False, indent=2)


def _is_report(result: Any) -> bool:
    return isinstance(result, dict) and {"id", "status", "text", "elapsedMs"} <= cast("Json", result).keys()


def _report_text(report: Json) -> str:
    """Return what an agent reports: its words, then its state, why it failed, and what it took."""
    fields = [f"{report['id'][-8:]} {report['status']}"]
    usage: Json = report.get("usage") or {}
    error: Json | None = report.get("error")
    if error:
        fields.append(error["message"])
    if usage.get("totalTokens") is not None:
        fields.append(f"{usage['totalTokens']} tokens")
    if usage.get("costUsd") is not None:
        fields.append(f"${usage['costUsd']:.4f}")
    words = report["text"].strip()
    return f"{words}\n{' · '.join(fields)}".lstrip()


def _file_name(part: Json) -> str:
    return f"[{part.get('title') or part.get('mediaType') or part['type']}]"


def describe_outcome(part: Json) -> str:
    """Return what became of a call if it is not a plain success: "failed", "denied" and so on."""
    outcome: str = part.get("outcome") or ("failed" if part.get("isError") else "ok")
    names = {"ok": "", "timed_out": "timed out", "interrupted": "interrupted", "denied": "not allowed"}
    return names.get(outcome, one_line(outcome))


def describe_files(files: Sequence[Json]) -> list[str]:
    """Return one line for each changed file: its name, and how many lines were added and deleted."""
    lines: list[str] = []
    for file in files:
        counts = [
            f"{sign}{file[name]}" for sign, name in (("+", "additions"), ("-", "deletions")) if file.get(name)
        ]
        kind = "" if file["changeType"] == "modified" else f" {file['changeType']}"
        lost = "" if file.get("restorable", True) else " (cannot be undone)"
        lines.append(f"{short_path(file['path'])}{kind} {' '.join(counts)}".rstrip() + lost)
    return lines


def short_path(path: str) -> str:
    """Return the path of a file URI, relative to the present folder if it lies below it."""
    path = path_of(path)
    try:
        return visible_line(path.removeprefix(f"{Path.cwd()}/") or path)
    except FileNotFoundError:  # the present folder was deleted
        return visible_line(path)


def source_place(source: Json) -> str:
    """Return where a source is: the path of a file with its lines, else the title and the address."""
    if not source["url"].startswith("file:"):
        return visible_line(f"{source['title']}  {source['url']}".strip())
    return f"{short_path(source['url'])}{lines_of(source)}"


def path_of(uri: str) -> str:
    """Return the path of a file URI; a path unchanged."""
    return unquote(urlsplit(uri).path) if uri.startswith("file:") else uri


def describe_allowed_by(allowed_by: str | None) -> str:
    """Return why a call was allowed without a question: by a rule; "" for a mode and for an answer."""
    kind, _, name = (allowed_by or "").partition(":")
    return f"rule {one_line(name)}" if kind == "rule" else ""


def describe_step(name: str, args: Any, part: Json, details: Sequence[str] = ()) -> str:
    """Return one line about a call that has ended: its tool, arguments, outcome and further details."""
    outcome = describe_outcome(part)
    fields = [field for field in (outcome, *details) if field]
    line = f"{one_line(name)}  {describe_args(args)}".rstrip()
    return " · ".join([line, *fields])


def last_lines(text: str, count: int) -> list[str]:
    """Return the last lines of an output, and before them how many there are more."""
    lines = [line.expandtabs(4).rstrip() for line in clean_output(text).strip("\n").split("\n")]
    if lines == [""]:
        return []
    more = len(lines) - count
    return lines if more <= 0 else [f"… {more} more lines", *lines[-count:]]


def steps_as_text(parts: Sequence[Json]) -> list[Json]:
    """Return the parts of a message with texts in place of calls and results, for a transcript."""
    return [_step_as_text(part) for part in parts]


def _step_as_text(part: Json) -> Json:
    match part["type"]:
        case "tool-call":
            text = f"▸ `{one_line(part['toolName'])}  {describe_args(part.get('args'))}`".replace("  `", "`")
        case "tool-result":
            lines = last_lines(result_text(part.get("result")), _TRANSCRIPT_LINES)
            fence = "`" * max(3, *[len(run) + 1 for run in re.findall("`{3,}", "\n".join(lines))], 3)
            output = f"\n\n{fence}text\n{chr(10).join(lines)}\n{fence}" if lines else ""
            text = f"`{one_line(part['toolName'])}`: {describe_outcome(part) or 'ok'}{output}"
        case _:
            return part
    return {"type": "text", "text": text}


def describe_answer(event: Json, kind: str, own_origin: str | None) -> str:
    """Return how a request of this kind was answered, and by whom if it was another client."""
    by: str | None = event.get("by")
    yes = {"question": "answered", "plan": "approved"}.get(kind, "allowed")
    names = {"allowed": yes, "denied": "denied", "interrupted": "not answered", "expired": "expired"}
    answer = names.get(event["outcome"], one_line(event["outcome"]))
    return answer if by is None or by == own_origin else f"{answer} by {one_line(by)}"


def describe_denied(ended: Json) -> str | None:
    """Return what the turn would have needed, given its result; None: nothing was denied."""
    messages: list[Json] = ended.get("messages") or []
    parts = [part for message in messages for part in message["content"]]
    calls = {part["toolCallId"]: part for part in parts if part["type"] == "tool-call"}
    denied = [part for part in parts if part["type"] == "tool-result" and part.get("outcome") == "denied"]
    needed: list[str] = []
    for part in denied:
        args = calls.get(part["toolCallId"], {}).get("args")
        needed.append(f"{one_line(part['toolName'])}  {describe_args(args)}".rstrip())
    if not needed:
        return None
    listed = "\n  ".join(dict.fromkeys(needed))
    return (
        f"The model was not allowed to do this:\n  {listed}\nparley chat --agent asks you, --agent=edits and "
        "--agent=auto allow more, and rules allow what they name (/permissions in parley chat)."
    )
