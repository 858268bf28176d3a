"""`parley edit`, `retry`, `rewind`, `branch`, `queue`, `fork`, `archive`, `pin` and others."""

import json
import re
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from parley_clients import sync
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.parley_command import run_in_terminal, run_parley


class Parley:
    """Runs the command on one chat."""

    def __init__(self, daemon: DaemonProcess, chat: sync.Chat) -> None:
        self.daemon = daemon
        self.chat = chat
        self.id = chat.id[-8:]

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it without a terminal."""
        return run_parley(self.daemon.env, *words, stdin=stdin)

    def said(self, *words: str, stdin: str = "") -> str:
        """Run it; return what it printed when all went well."""
        done = self.run(*words, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def json(self, *words: str) -> list[dict[str, object]]:
        """Run it with --json; return the lines."""
        return [json.loads(line) for line in self.said(*words, "--json").splitlines()]

    def refused(self, *words: str, stdin: str = "", code: int = 1) -> str:
        """Run it; return what it complained of, in one line."""
        done = self.run(*words, stdin=stdin)
        assert (done.returncode, done.stdout) == (code, "")
        assert "Traceback" not in done.stderr
        *_, last = done.stderr.splitlines()
        return last

    @property
    def messages(self) -> list[int]:
        """The messages that the chat shows."""
        return [message["id"] for message in self.chat.get().messages]


@pytest.fixture
def parley(shared_daemon: DaemonProcess) -> Generator[Parley]:
    """The command, and a chat with one question and its answer."""
    with sync.connect(f"unix:{shared_daemon.socket}") as client:
        chat = client.create_chat(title="Command")
        chat.ask("/fast /tokens 2")
        yield Parley(shared_daemon, chat)


def test_a_question_is_edited_and_its_answer_shown(parley: Parley) -> None:
    assert parley.said("edit", parley.id, "/fast", "/tokens", "3").strip() == "1 2 3"
    assert parley.said("edit", parley.id, "-", stdin="/fast /tokens 4").strip() == "1 2 3 4"
    assert parley.said("edit", parley.id, "/fast /tokens 5", "--message", "1").strip() == "1 2 3 4 5"
    events = parley.json("edit", parley.id, "/fast /tokens 1")
    assert [events[0]["type"], events[-1]["type"]] == ["message", "turn_ended"]
    assert parley.messages == [9, 10]
    assert "no message" in parley.refused("edit", parley.id, "x", "--message", "99")
    failed = parley.run("edit", parley.id, "/fast /error auth")
    assert (failed.returncode, len(failed.stderr.splitlines())) == (1, 1)


def test_another_answer_is_asked_for(parley: Parley) -> None:
    assert parley.said("retry", parley.id).strip() == "1 2"
    assert parley.said("retry", parley.id, "1", "--model", "demo:demo").strip() == "1 2"
    assert parley.messages == [1, 4]
    assert "nope" in parley.refused("retry", parley.id, "--model", "nope:x")


def test_the_chat_that_was_used_last_needs_no_id(parley: Parley) -> None:
    parley.chat.ask("/fast /tokens 3")
    assert parley.said("retry", "--last").strip() == "1 2 3"
    assert parley.said("retry", "--last", "1").strip() == "1 2"
    assert parley.said("edit", "--last", "/fast /tokens 4").strip() == "1 2 3 4"
    assert "1 2 3 4" in parley.said("show", "--last")
    for words in (
        ["show"],
        ["retry"],
        ["edit"],
        ["show", "--last", parley.id],
        ["retry", "--last", "1", "2"],
    ):
        assert parley.refused(*words, code=2).startswith("parley: ")
    parley.chat.archive()
    assert "1 2 3 4" not in parley.said("show", "--last")


def test_settings_hold_for_a_new_chat_or_for_one_turn(parley: Parley) -> None:
    parley.said("ask", "-o", "seed=7", "-o", "timeouts.total_ms=60000", "/fast /tokens 1")
    (chat, *_) = parley.json("list")
    settings = chat["settings"]
    assert isinstance(settings, dict)
    assert (settings["seed"], settings["timeouts"]["totalMs"]) == (7, 60000)
    parley.said("ask", "--last", "-o", "seed=8", "/fast /tokens 1")
    parley.said("retry", "--last", "-o", "seed=9")
    (chat, *_) = parley.json("list")
    assert chat["settings"] == settings
    assert "from 0 to 2" in parley.refused("retry", "--last", "-o", "temperature=3", code=2)


def test_only_the_code_of_an_answer_is_printed(parley: Parley) -> None:
    code = parley.said("ask", "-x", "/fast hello")
    assert code.startswith("[providers.local]\n")
    assert "```" not in code
    assert parley.said("retry", "--last", "-x") == parley.said("edit", "--last", "-x", "/fast hello") == code
    assert "no code block" in parley.refused("ask", "-x", "/fast /tokens 2")
    failed = parley.run("ask", "-x", "/fast /error auth")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert parley.refused("ask", "-x", "--schema", "{}", "x", code=2)


def test_the_value_of_a_schema_is_printed(parley: Parley, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text('{"type": "object", "properties": {"n": {"const": "ä"}}, "required": ["n"]}', "utf-8")
    assert parley.said("ask", "--schema", str(file), "/fast make one") == '{"n": "ä"}\n'
    events = parley.json("ask", "--schema", str(file), "/fast make one")
    assert events[-1]["type"] == "turn_ended"
    assert "not JSON" in parley.refused("ask", "--schema", "{", "x", code=2)
    code, shown = run_in_terminal(parley.daemon.env, "ask", "--schema", str(file), "/fast make one")
    assert (code, '{\r\n  "n": "ä"\r\n}' in shown) == (0, True)


def test_branches_are_listed_and_changed(parley: Parley) -> None:
    assert parley.said("branch", parley.id) == ""
    parley.said("edit", parley.id, "/fast /tokens 3")
    parley.said("retry", parley.id)
    assert parley.said("branch", parley.id) == "1 3*\tYou\t/fast /tokens 3\n4 5*\tdemo:demo\t1 2 3\n"
    assert [place["siblings"] for place in parley.json("branch", parley.id)] == [[1, 3], [4, 5]]
    parley.said("branch", parley.id, "4")
    assert parley.messages == [3, 4]
    assert "· 3\n" in parley.said("show", parley.id, "--ids")
    assert "no message" in parley.refused("branch", parley.id, "77")


def test_a_chat_is_rewound(parley: Parley) -> None:
    assert "There is nothing to go back to." in parley.refused("rewind", parley.id)
    parley.chat.ask("/fast /tokens 3")
    parley.said("rewind", parley.id)
    assert parley.messages == [1, 2]
    (record,) = parley.json("rewind", parley.id, "1")
    assert record["id"] == parley.chat.id
    assert parley.messages == [1]


def test_the_queue_is_listed_and_changed(parley: Parley) -> None:
    parley.chat.send("/stall")
    for number in range(3):
        parley.chat.send(f"/stall {number}")
    ids = [message["id"] for message in parley.chat.queue.list().messages]
    listed = [line.split("\t") for line in parley.said("queue", parley.id).splitlines()]
    assert [(line[0], line[2]) for line in listed] == [(str(n + 1), f"/stall {n}") for n in range(3)]
    assert "/stall new" in parley.said("queue", parley.id, "edit", "2", "/stall", "new")
    assert [one["id"] for one in parley.json("queue", parley.id, "rm", ids[0][-8:])] == ids[1:]
    with parley.chat.attach() as live:
        # The promoted message leaves the queue when the running turn has ended.
        promoted = parley.json("queue", parley.id, "promote", ids[2])
        assert [message["id"] for message in promoted] == [ids[2], ids[1]]
        queues = (event.raw["queuedMessages"] for event in live if event.type == "queue_update")
        assert [ids[1]] in ([message["id"] for message in queue] for queue in queues)
    refusal = parley.refused("queue", parley.id, "rm", "7")
    assert refusal == "parley: The queue has no message 7: its only position is 1."
    for words in (["rm"], ["list", "1"], ["edit", "1"], ["rm", "1", "text"], ["dance"]):
        parley.refused("queue", parley.id, *words, code=2)
    parley.chat.delete()


@pytest.mark.parametrize("word", ["7", "abc", "-", " "])
def test_a_short_word_is_not_the_id_of_a_chat(parley: Parley, word: str) -> None:
    for command in ("show", "archive", "delete", "export", "fork", "compact", "queue", "rewind"):
        refusal = parley.refused(command, "--", word)
        assert refusal.startswith(f'parley: "{word}" is too short to name a chat: give at least 4 characters')


def test_an_ambiguous_id_is_refused_with_the_candidates(parley: Parley) -> None:
    fork = parley.said("fork", parley.id).strip()
    beginning = parley.chat.id[:4]
    refusal = parley.refused("delete", "--yes", beginning)
    assert re.search(rf"^parley: {beginning} matches \d+ chats: [0-9a-f]{{8}} ", refusal)
    assert refusal.endswith("Give more characters of the id.")
    assert parley.said("show", fork)


def test_a_copy_is_made_and_named(parley: Parley) -> None:
    fork = parley.said("fork", parley.id).strip()
    assert "1 2" in parley.said("show", fork)
    (record,) = parley.json("fork", parley.id, "1")
    assert record["forkedFrom"] == {"chatId": parley.chat.id, "messageId": 1}


def test_chats_are_put_away_and_brought_back(parley: Parley) -> None:
    parley.said("archive", parley.id)
    assert parley.id in parley.said("list", "--archived")
    assert "archived" in parley.refused("archive", parley.id)
    assert "archived" in parley.refused("ask", "--chat", parley.id, "hello")
    fork = parley.said("fork", parley.id).strip()
    done = parley.run("unarchive", fork, parley.id)
    assert (done.returncode, fork in done.stderr) == (1, True)
    assert parley.id not in parley.said("list", "--archived")


def test_chats_are_pinned_marked_in_the_list_and_unpinned(parley: Parley) -> None:
    parley.chat.update(title="Quoll")  # `list` says how many chats it leaves out, so look for this one only
    parley.said("pin", parley.id, parley.id)
    for words in (("list", "--query", "quoll"), ("list", "--pinned", "--query", "quoll")):
        (line,) = parley.said(*words).splitlines()
        assert line.split("\t")[3:] == ["Quoll", "pinned"]
        code, shown = run_in_terminal(parley.daemon.env, *words)
        assert code == 0
        assert re.search(rf"{parley.id}.*Quoll.*pinned", shown)
    (record,) = parley.json("unpin", parley.id)
    assert record["pinned"] is False
    assert parley.said("list", "--pinned", "--query", "quoll") == ""
    (line,) = parley.said("list", "--query", "quoll").splitlines()
    assert line.split("\t")[3:] == ["Quoll"]


def test_a_chat_is_named_by_the_beginning_of_the_id_that_the_list_shows(parley: Parley) -> None:
    assert "Command" in parley.said("show", parley.id[:7])
    assert parley.refused("show", "wxyz") == 'parley: No chat has the id "wxyz". See parley list.'


def test_a_chat_goes_through_a_file(parley: Parley, tmp_path: Path) -> None:
    assert parley.said("export", parley.id).startswith("# Command\n")
    file = tmp_path / "chat.json"
    parley.said("export", parley.id, "-o", str(file))
    assert file.read_text("utf-8") == parley.said("export", parley.id, "--format", "json")
    parley.said("export", parley.id, "-o", str(tmp_path / "chat.json.md"))
    assert (tmp_path / "chat.json.md").read_text("utf-8").startswith("# Command\n")
    copy = parley.said("import", str(file)).strip()
    assert copy != parley.id
    assert "1 2" in parley.said("show", copy)
    assert parley.said("import", "--merge", "-", stdin=file.read_text("utf-8")).strip() == parley.id


def test_files_that_are_none_are_named(parley: Parley, tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing" / "here")
    assert missing in parley.refused("import", missing)
    assert missing in parley.refused("export", parley.id, "-o", missing)
    wrong = tmp_path / "wrong"
    for content in (b"# Markdown", b"\xff", b'{"format": "x"}'):
        wrong.write_bytes(content)
        assert f"{wrong} is not an exported chat" in parley.refused("import", str(wrong))


def test_messages_are_found(parley: Parley) -> None:
    parley.chat.update(title="Wombat")
    parley.chat.ask("/fast /tokens 1 wombat burrows")
    found = [line.split("\t") for line in parley.said("search", "wombat").splitlines()]
    assert {(line[0], line[1]) for line in found} >= {(parley.id, ""), (parley.id, "3")}
    assert {hit["messageId"] for hit in parley.json("search", "wombat", "burrows")} == {3}
    assert parley.said("search", "nothinglikethis") == ""
    few = parley.run("search", "wombat", "--limit", "1")
    assert (len(few.stdout.splitlines()), "--limit" in few.stderr) == (1, True)


def test_in_a_terminal_what_was_done_is_said(parley: Parley) -> None:
    parley.chat.update(title="Bilby\x1b]0;title\x07")
    for words, said in (
        (["search", "bilby"], "Bilby␛"),
        (["retry", parley.id], "demo:demo"),
        (["branch", parley.id], "2 3*"),
        (["rewind", parley.id, "1"], "The chat now ends at message 1."),
        (["queue", parley.id], "The queue is empty."),
        (["export", parley.id], "Bilby␛"),
        (["pin", parley.id], f"{parley.id} was pinned."),
        (["unpin", parley.id], f"{parley.id} was unpinned."),
        (["archive", parley.id], f"{parley.id} was archived."),
    ):
        code, shown = run_in_terminal(parley.daemon.env, *words)
        assert (code, said in shown) == (0, True), words


def test_the_prompt_knows_what_goes_back(parley: Parley) -> None:
    typed = [
        "/edit /fast /tokens 3",
        "/retry",
        "/branch",
        "/branch 1",
        "/edit",
        "/queue rm 9",
        "/rewind",
        "/branch x",
    ]
    done = parley.run("chat", parley.id, stdin="\n".join(typed))
    assert done.returncode == 0
    assert "1 2 3 \n1 2 3 \n1 3*  You: /fast /tokens 3\n" in done.stdout
    assert "The chat now continues from message 1." in done.stdout
    complaints = done.stderr.splitlines()
    assert [one.partition(": ")[2][:18] for one in complaints] == [
        "/edit needs a text",
        "The queue of this ",
        "The chat begins wi",
        "/branch needs the ",
    ]
    assert parley.messages == [1, 2]
