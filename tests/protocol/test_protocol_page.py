"""protocol/README.md: its tables are those of the code, its frames are real ones, its client runs."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, cast, get_args

import pytest

from parley_protocol import fold
from parley_protocol.errors import ErrorCode
from parley_protocol.framing import FrameDecoder, encode_frame
from parley_protocol.methods import GROUPS, METHODS, Kind
from parley_protocol.models.base import Params
from parley_protocol.models.events import EVENT_TYPES, parse_event
from parley_protocol.models.objects import ChatStatus
from parley_protocol.protocol_page import update_page
from parley_protocol.runtime import RuntimeInfo, data_dir, runtime_file, write_runtime_file
from parley_protocol.schema import COMMAND, page_is_stale
from tests.support.engine.protocol_samples import snapshot

PAGE_PATH = Path(__file__).parents[2] / "protocol" / "README.md"
PAGE = PAGE_PATH.read_text("utf-8")

Json = dict[str, Any]


def table_under(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the first table under a heading."""
    section = re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.M)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def rows_under(heading: str) -> dict[str, list[str]]:
    """Return the rows of the first table under a heading by their first cells."""
    return {first: rest for first, *rest in table_under(heading)}


def blocks(language: str) -> list[str]:
    """Return the fenced blocks in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def messages() -> list[Json]:
    """Return every JSON-RPC message that the page shows, in order."""
    found: list[Json] = []
    for block in blocks("json"):
        rest = block.strip()
        while rest:
            message, end = json.JSONDecoder().raw_decode(rest)
            found.append(message)
            rest = rest[end:].strip()
    return found


def differences(whole: object, shown: object, path: str = "result") -> list[str]:
    """Return in words where the JSON of a page differs from the complete object, field by field."""
    if not (isinstance(whole, dict) and isinstance(shown, dict)):
        return [] if whole == shown else [f"{path} is {json.dumps(shown)}, must be {json.dumps(whole)}"]
    wanted, given = cast("Json", whole), cast("Json", shown)
    missing = [f'add "{name}": {json.dumps(wanted[name])} to {path}' for name in wanted if name not in given]
    unknown = [f"remove {path}.{name}" for name in given if name not in wanted]
    inner = [differences(wanted[name], given[name], f"{path}.{name}") for name in wanted if name in given]
    return [*missing, *unknown, *chain.from_iterable(inner)]


# ------------------------------------------------------------------------------ tables


def test_the_tables_of_the_page_are_what_the_code_gives() -> None:
    assert not page_is_stale(), f"protocol/README.md is out of date; run: {COMMAND}"


def test_a_row_names_the_fields_of_a_method_and_its_result() -> None:
    chats = rows_under("Chats")
    assert chats["`chat/setModel`"][0] == "`{chatId, model}` → Chat"
    assert chats["`chat/unwatch`"][0] == "`{partialResultToken}` → null"
    workspace, opening, server = map(rows_under, ("Workspace", "Opening and closing", "Server"))
    assert workspace["`chat/gitChanges`"][0] == "`{chatId}` → [GitChange]"
    assert opening["`exit`"][0] == "none"
    assert server["`server/status`"][0] == "none → ServerStatus"


def test_a_row_of_an_event_names_its_own_fields_and_marks_those_that_may_be_absent() -> None:
    rows = rows_under("Events")
    assert list(rows) == [f"`{name}`" for name in EVENT_TYPES]
    assert rows["`chat`"][0] == "`turnId?, chat, deleted?`"
    assert all(meaning.endswith(".") for _, meaning in rows.values())


def test_a_row_of_an_error_has_code_name_and_meaning() -> None:
    code = ErrorCode.CHAT_ARCHIVED
    assert [str(int(code)), f"`{code.name}`", code.meaning] in table_under("Errors")
    assert len(table_under("Errors")) == len(ErrorCode)


def test_the_terms_explain_every_status_of_a_chat() -> None:
    missing = [name for name in get_args(ChatStatus) if not re.search(rf"^- `{name}`[:;]", PAGE, re.M)]
    assert not missing, f"explain these statuses under Terms: {missing}"


def test_every_method_is_in_exactly_one_group() -> None:
    assert [row.name for rows in GROUPS.values() for row in rows] == list(METHODS)


def test_a_page_without_the_marker_of_a_table_is_refused() -> None:
    assert update_page(PAGE) == PAGE
    with pytest.raises(ValueError, match="methods: Chats"):
        update_page(PAGE.replace("<!-- generated methods: Chats -->\n", ""))


def test_every_link_of_the_page_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.M)
    anchors = {"#" + re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert len(links) > 10
    for link in links:
        assert link in anchors or (PAGE_PATH.parent / link).is_file(), link


# ------------------------------------------------------------------------------ frames


def test_the_frame_that_the_page_shows_is_one() -> None:
    (shown,) = [block for block in blocks("text") if "Content-Length" in block]
    frame = shown.replace("\n", "").replace("\\r\\n", "\r\n").encode()
    assert [json.loads(body) for body in FrameDecoder().feed(frame)] == [
        {"jsonrpc": "2.0", "id": 1, "method": "model/list"}
    ]


def test_every_request_that_the_page_shows_is_answered_there_and_both_are_valid() -> None:
    shown = messages()
    assert len(shown) > 12
    answers = {message["id"]: message["result"] for message in shown if "result" in message}
    asked: set[object] = set()
    for message in shown:
        assert message["jsonrpc"] == "2.0"
        if "method" not in message:
            continue
        method = METHODS[message["method"]]
        assert method.params is not None
        if issubclass(method.params, Params):
            method.params.from_wire(message["params"])
        else:
            method.params.model_validate(message["params"])
        if method.kind is Kind.REQUEST:
            answer = answers[message["id"]]
            whole = method.result.model_validate(answer).to_wire()
            assert not (wrong := differences(whole, answer)), (
                f"protocol/README.md, the response to {method.name} in the example: {'; '.join(wrong)}"
            )
            asked.add(message["id"])
    assert asked == answers.keys()


def test_the_events_that_the_page_shows_are_whole_and_fold_to_the_message_that_it_shows() -> None:
    shown = messages()
    chat = next(m["result"] for m in shown if m.get("id") == 2 and "result" in m)
    sent = next(m["result"] for m in shown if m.get("id") == 4 and "result" in m)
    events = [m["params"]["value"] for m in shown if m.get("method") == "$/progress"]
    for event in events:
        assert parse_event(event).to_wire() == event
        assert event["chatId"] == chat["id"]
        assert event["turnId"] == sent["turnId"]
    # The page says in words what events 1 to 3 are.
    view = fold.ChatView(snapshot(chat={**chat, "lastSeq": 3}, messages=[sent["message"]]))
    for event in events:
        if event["type"] == "message":
            assert view.preview is not None
            assert view.preview["parts"] == event["message"]["content"]
        assert view.apply(event)
    assert [one["id"] for one in view.messages] == [1, 2]
    assert (view.status, view.seq) == ("waiting", 12)


def test_the_runtime_file_that_the_page_shows_has_the_fields_of_a_real_one(tmp_path: Path) -> None:
    (block,) = blocks("jsonc")
    shown = json.loads(re.sub(r" //.*$", "", block, flags=re.M))
    info = RuntimeInfo(1, None, None, "t", "0.1.0", 1, "/data", "2026-11-21T09:14:02.118Z")
    write_runtime_file(tmp_path / "parleyd.json", info)
    written = json.loads((tmp_path / "parleyd.json").read_text("utf-8"))
    assert list(shown) == list(written)


# -------------------------------------------------------------------------- the client


def _serve(listener: socket.socket, seen: list[str]) -> None:
    """Answer one client with what the page shows."""
    shown = messages()
    requests = {m["id"]: m["method"] for m in shown if "id" in m and "method" in m}
    results = {requests[m["id"]]: m["result"] for m in shown if "result" in m}
    events = [m for m in shown if m.get("method") == "$/progress"]
    peer, _ = listener.accept()
    decoder = FrameDecoder()

    def say(message: Json) -> None:
        peer.sendall(encode_frame(json.dumps(message).encode()))

    with peer:
        while data := peer.recv(65536):
            for body in decoder.feed(data):
                message = json.loads(body)
                seen.append(message.get("method", "answer"))
                if "method" not in message:
                    continue
                say({"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]})
                if message["method"] == "chat/send":
                    say({"jsonrpc": "2.0", "id": "s1", "method": "workspace/configuration", "params": {}})
                    for event in events:
                        event["params"]["token"] = "events"
                        say(event)


@pytest.fixture
def runtime_directory() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as path:
        yield Path(path)


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "a runtime directory": {"PARLEY_RUNTIME_DIR": "{}"},
    "the session's directory": {"XDG_RUNTIME_DIR": "{}"},
    "a data directory": {"PARLEY_RUNTIME_DIR": "{}", "PARLEY_DATA_DIR": "{}/data/../data"},
}


def test_the_client_that_the_page_shows_looks_where_daemons_are_without_any_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PARLEY_RUNTIME_DIR", "XDG_RUNTIME_DIR", "PARLEY_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    (source,) = blocks("python")
    looks, _, _ = source.partition("daemon = ")
    done = subprocess.run(
        [sys.executable, "-c", f"{looks}print(f'{{base}}/{{name}}.json')"], capture_output=True, text=True
    )
    assert done.stdout.strip() == str(runtime_file(data_dir()))


@pytest.mark.parametrize("where", ENVIRONMENTS.values(), ids=list(ENVIRONMENTS))
def test_the_client_that_the_page_shows_runs_and_prints_the_answer(
    runtime_directory: Path, where: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PARLEY_RUNTIME_DIR", "XDG_RUNTIME_DIR", "PARLEY_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in where.items():
        monkeypatch.setenv(name, value.format(runtime_directory))
    (source,) = blocks("python")
    assert len(source.splitlines()) == 40  # as the page says
    path = runtime_directory / "parleyd.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)
        info = RuntimeInfo(os.getpid(), str(path), None, "t", "0.1.0", 1, "/data", "2026-11-21T09:14:02.118Z")
        write_runtime_file(runtime_file(data_dir()), info)
        seen: list[str] = []
        server = threading.Thread(target=_serve, args=(listener, seen))
        server.start()
        done = subprocess.run(
            [sys.executable, "-c", source, "Say", "hello."],
            capture_output=True,
            text=True,
            timeout=40,
        )
        server.join(30)
    assert (done.stdout, done.stderr) == ("Hello there.\n[completed]\n", "")
    assert seen == ["initialize", "chat/create", "chat/subscribe", "chat/send", "answer"]
