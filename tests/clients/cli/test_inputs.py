"""What a message consists of: words, standard input and files; input that was not asked for."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_parley
from tests.support.processes.terminal import PARLEY

UNREAD = "parley: Standard input was not read. To send it with the question, add - to the command.\n"


def sent(daemon: DaemonProcess, *words: str, stdin: str = "") -> list[dict[str, Any]]:
    """Run `parley ask` and return the parts of the question."""
    done = run_parley(daemon.env, "ask", "--json", *words, stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout.splitlines()[0])["message"]["content"]


def text(value: str) -> dict[str, str]:
    """Return a text part."""
    return {"type": "text", "text": value}


@pytest.mark.slow
def test_piped_text_is_a_part_of_its_own_before_or_after_the_question(shared_daemon: DaemonProcess) -> None:
    assert sent(shared_daemon, "/fast a", "-", stdin="b\n") == [text("/fast a"), text("b\n")]
    assert sent(shared_daemon, "-", "/fast", "a", stdin="b") == [text("b"), text("/fast a")]
    assert sent(shared_daemon, "-", stdin="/fast b") == sent(shared_daemon, stdin="/fast b")
    assert sent(shared_daemon, "/fast", "3", "-", "2", stdin="x") == [text("/fast 3 - 2")]
    assert "\t/fast a b\n" in run_parley(shared_daemon.env, "list").stdout


@pytest.mark.slow
def test_files_follow_the_question_in_their_order(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files = ("-f", str(tmp_path / "a.txt"), "--file", str(tmp_path / "b.png"))
    parts = sent(shared_daemon, *files, "/fast a", "-", stdin="piped")
    assert parts[:2] == [text("/fast a"), text("piped")]
    assert [part["title"] for part in parts[2:]] == ["a.txt", "b.png"]
    assert sent(shared_daemon, "/fast a", "-f", "-", stdin="piped")[1]["mediaType"] == "text/plain"
    assert [part["type"] for part in sent(shared_daemon, *files)] == ["file", "file"]


def test_what_cannot_be_sent_is_refused_before_a_chat_exists(shared_daemon: DaemonProcess) -> None:
    before = run_parley(shared_daemon.env, "list", "--limit", "1000").stdout
    for words in (["a", "-"], ["a", "-", "-f", "-"], ["a", "-f", "/nowhere"], ["a", "-o", "x"], []):
        done = run_parley(shared_daemon.env, "ask", *words)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), words
    assert run_parley(shared_daemon.env, "list", "--limit", "1000").stdout == before


def started(daemon: DaemonProcess, stdin: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command with this standard input."""
    return subprocess.run(
        [PARLEY, *words], env=daemon.env, stdin=stdin, capture_output=True, text=True, check=False
    )


def test_piped_input_that_is_not_read_is_reported_and_left_for_others(shared_daemon: DaemonProcess) -> None:
    source, target = os.pipe()
    os.write(target, b"next line\n")
    done = started(shared_daemon, source, "ask", "/fast /tokens 2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 2 \n", UNREAD)
    # It is still open here: the command did not wait for its end.
    assert os.read(source, 100) == b"next line\n"
    done = started(shared_daemon, source, "ask", "/fast /tokens 2")
    assert (done.stdout, done.stderr) == ("1 2 \n", "")
    os.close(source)
    os.close(target)


@pytest.mark.slow
def test_the_rest_of_a_file_is_reported_too(shared_daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("one\n")
    with file.open() as opened:
        assert started(shared_daemon, opened.fileno(), "ask", "/fast x").stderr == UNREAD
        assert opened.read() == "one\n"
        assert started(shared_daemon, opened.fileno(), "ask", "/fast x").stderr == ""


def test_binary_input_is_an_image_or_refused(shared_daemon: DaemonProcess) -> None:
    def ask(data: bytes) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [PARLEY, "ask", "--json", "/fast x", "-"],
            env=shared_daemon.env,
            input=data,
            capture_output=True,
            check=False,
        )

    first = json.loads(ask(b"\x89PNG\r\n\x1a\n").stdout.splitlines()[0])
    assert first["message"]["content"][1]["mediaType"] == "image/png"
    assert ask(b"\xff\x00").stderr == b"parley: Standard input is not UTF-8.\n"


@pytest.mark.parametrize("words", [["edit", "--last"], ["ask", "--last"]])
def test_an_edit_and_a_later_question_take_the_same_input(
    shared_daemon: DaemonProcess, words: list[str]
) -> None:
    run_parley(shared_daemon.env, "ask", "/fast x")
    done = run_parley(shared_daemon.env, *words, "--json", "/fast y", "-", stdin="z")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    contents = [one["message"]["content"] for one in messages if one["type"] == "message"]
    assert contents[0] == [text("/fast y"), text("z")]
