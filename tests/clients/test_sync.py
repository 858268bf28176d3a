"""The synchronous client: the same names, from plain functions and from threads."""

import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from parley_clients import Chat, ChatNotFoundError, Client, ModelConfigs, Permissions, Providers, Queue, sync
from tests.support.processes.daemon import private_environment

PAIRS = [
    (Client, sync.Client),
    (Chat, sync.Chat),
    (Queue, sync.Queue),
    (Permissions, sync.Permissions),
    (Providers, sync.Providers),
    (ModelConfigs, sync.ModelConfigs),
]


@pytest.mark.parametrize(("kind", "blocking"), PAIRS)
def test_a_blocking_object_has_every_name_of_the_asynchronous_one(kind: type, blocking: type) -> None:
    missing = {name for name in dir(kind) if not name.startswith("_")} - set(dir(blocking))
    assert not missing, f"add these to sync.{blocking.__name__}: {missing}"


@pytest.fixture
def address() -> Generator[list[str]]:
    """A daemon of one's own as a child process."""
    with private_environment():
        yield [sys.executable, "-m", "parley_daemon", "stdio", "--in-memory"]


def test_an_answer_and_a_stream_without_async(address: list[str]) -> None:
    with sync.connect(address) as client:
        chat = client.create_chat()
        assert chat.ask("/fast /tokens 3").text == "1 2 3 "
        text = "".join([event.text for event in chat.stream("/fast /tokens 4")])
        assert text == "1 2 3 4 "
        assert [record.id for record in client.list_chats().chats] == [chat.id]
        with pytest.raises(ChatNotFoundError):
            client.chat("nope").get()


def test_turns_are_run_again_without_async(address: list[str]) -> None:
    with sync.connect(address) as client:
        chat = client.create_chat()
        chat.ask("/fast /tokens 2")
        assert chat.edit(1, "/fast /tokens 3").text == "1 2 3 "
        assert "".join([event.text for event in chat.stream_retry()]) == "1 2 3 "
        assert chat.stream_edit(1, "/fast /tokens 4").finish().text == "1 2 3 4 "
        assert [place.siblings for place in chat.branches()] == [[1, 3, 6]]
        chat.select_branch(1)
        assert list(chat.stream("/fast /tokens 9").text(cumulative=True))[-1] == "1 2 3 4 5 6 7 8 9 "
        chat.send("/stall")
        chat.send("waits")
        waiting = chat.queue.list().messages
        assert chat.queue.update(waiting[0]["id"], "still waits").messages[0]["id"] == waiting[0]["id"]
        assert chat.queue.remove(waiting[0]["id"]).messages == []
        chat.rewind(2)
        assert [message["id"] for message in chat.get().messages] == [1, 2]


def test_leaving_the_text_of_a_stream_interrupts_its_turn_without_async(address: list[str]) -> None:
    with sync.connect(address) as client:
        chat = client.create_chat()
        with chat.attach(tail=0) as live:
            for _ in chat.stream("/stall").text():
                break
            ended = next(event for event in live if event.type == "turn_ended")
        assert ended.raw["outcome"] == "interrupted"


def test_many_threads_share_one_client(address: list[str]) -> None:
    answers: dict[int, str] = {}
    with sync.connect(address) as client:

        def work(number: int) -> None:
            answers[number] = client.create_chat().ask(f"/fast thread {number}!").text

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(f"thread {number}!" in answers[number] for number in range(8))


@pytest.mark.slow
def test_the_demo_checks_what_it_shows() -> None:
    with private_environment() as places:
        done = subprocess.run(
            [sys.executable, "-m", "parley_clients.demo"],
            env=places,
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(places["HOME"]),
        )
    assert done.returncode == 0, done.stderr
    assert "is exactly the stored answer" in done.stdout
    assert "resumed by sequence number" in done.stdout
    assert "Neovim │ is asked: Edit prices.py" in done.stdout
    assert "The test passes." in done.stdout
    assert done.stderr == ""
