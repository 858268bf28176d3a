"""Files that a message refers to by words after @, and the names that complete them."""

from pathlib import Path

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from parley_clients import connect
from parley_clients.cli.conversation.completer import CommandCompleter
from parley_clients.cli.conversation.context.references import read_references
from tests.support.processes.daemon import DaemonProcess


def test_words_that_name_files_of_the_chat_become_references(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    file = tmp_path / "src" / "work.py"
    file.write_text("def work():\n    pass\n", "utf-8")
    chat = {"context": {"repositories": [tmp_path.as_uri()]}}
    text = (
        "Compare @src/work.py, @src/work.py:2-3 and @src/work.py:7. Not me@src/work.py, @src, @gone.py, @ha:1"
    )
    plain = {"type": "reference", "uri": file.as_uri()}
    assert read_references(text, chat) == [
        plain,
        {**plain, "startLine": 2, "endLine": 3},
        {**plain, "startLine": 7, "endLine": 66},
    ]
    assert read_references("@src/work.py", {"context": {"repositories": []}}) == []
    assert read_references("@src/work.py", None) == []


async def test_files_and_definitions_complete_from_the_index(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "work.py").write_text("import os\n\n\ndef laborious():\n    return os\n", "utf-8")
    async with connect(f"unix:{shared_daemon.socket}") as client:
        chat = await client.create_chat(context={"repositories": [tmp_path.as_uri()]})
        completer = CommandCompleter(client, lambda: chat)

        async def complete(typed: str) -> list[str]:
            found = completer.get_completions_async(Document(typed, len(typed)), CompleteEvent())
            return [one.text async for one in found]

        assert await complete("look at @wor") == ["@src/work.py"]
        assert await complete("look at @labor") == ["@src/work.py:4"]
        assert await complete("look at @nothing") == []
        assert await complete("look at work") == []
