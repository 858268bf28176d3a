"""Messages are searched for in the context of their chat; models get the sources, verified and numbered."""

from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

import pytest

from parley_daemon.core.agents.globs import uri_of_path
from parley_daemon.core.agents.rules import Rule, RuleScope
from parley_daemon.core.events import MessageAdded
from parley_daemon.core.parts import Part, Source, Text
from parley_daemon.core.records import AgentSettings, Context, ModelSettings, RetrievalMode
from parley_daemon.core.retrieval import CITING, SOURCES_SENT, drop_old
from parley_daemon.engine.chats.acceptance import Acceptance, Draft
from parley_daemon.engine.context import retrieval
from parley_daemon.ports.context import ContextError, hash_text
from parley_daemon.ports.models import Batch, ModelRequest
from tests.support.engine.rig import ME, Rig, running
from tests.support.engine.toolbox import GivenToolbox
from tests.support.word_index import WordIndex

APPLES = "def count_apples(basket):\n    return len(basket)\n"
PEARS = "def count_pears(basket):\n    return len(basket) + 1\n"


class Orchard:
    """An engine whose chats have a folder with two files."""

    def __init__(self, rig: Rig, index: WordIndex, folder: Path) -> None:
        self.rig = rig
        self.index = index
        self.folder = folder
        self.requests: list[ModelRequest] = []
        stream = rig.model.stream

        def record(request: ModelRequest) -> AsyncGenerator[Batch, None]:
            self.requests.append(request)
            return stream(request)

        rig.model.stream = record  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def request(self) -> ModelRequest:
        """The last request of a turn; those for titles and summaries have other prompts."""
        return [one for one in self.requests if one.system_prompt in (None, CITING)][-1]

    async def chat(self, retrieval: RetrievalMode | None = None, **context: Any) -> str:
        given = Context(repositories=(uri_of_path(str(self.folder)),), chosen=True)
        settings = ModelSettings(agent=AgentSettings(retrieval=retrieval))
        for name, value in context.items():
            given = Context(**{**{one: getattr(given, one) for one in given.__struct_fields__}, name: value})
        return await self.rig.chat(context=given, settings=settings)

    async def question(self, chat: str, text: str) -> tuple[Part, ...]:
        """Ask something, and return the message as it was stored."""
        done = await self.rig.ask_quickly(chat, text)
        assert done.ended.error is None
        messages = (await self.rig.snapshot(chat)).messages
        return next(one for one in reversed(messages) if one.role == "user").content


@pytest.fixture
async def orchard(tmp_path: Path) -> AsyncGenerator[Orchard]:
    (tmp_path / "apples.py").write_text(APPLES)
    (tmp_path / "pears.py").write_text(PEARS)
    index = WordIndex()
    async with running(toolbox=GivenToolbox(roots=[str(tmp_path)]), context_index=index) as rig:
        yield Orchard(rig, index, tmp_path)


def sources(parts: Iterable[Part]) -> list[Source]:
    return [part for part in parts if isinstance(part, Source)]


def titles(parts: Iterable[Part]) -> list[str]:
    return [one.title for one in sources(parts)]


async def test_what_fits_a_message_is_stored_with_it_and_sent_to_the_model(orchard: Orchard) -> None:
    chat = await orchard.chat()
    recorder = await orchard.rig.listen(chat)
    content = await orchard.question(chat, "Where are apples counted?")
    (found,) = sources(content)
    path = uri_of_path(str(orchard.folder / "apples.py"))
    assert found == Source(
        *("S1", path, "apples.py", APPLES.rstrip("\n"), 1, 2),
        score=1.0,
        content_hash=hash_text(APPLES),
        origin="retrieval",
    )
    told = next(one.message for one in recorder.of(MessageAdded) if one.message.role == "user")
    assert told.content == content
    assert told.retrieval is not None
    assert (told.retrieval.state, told.retrieval.problem) == ("ready", None)
    request = orchard.request
    assert request.messages[-1].parts == content
    assert request.system_prompt == CITING


@pytest.mark.parametrize(
    ("mode", "context", "is_searched"),
    [
        (None, {}, True),
        (None, {"chosen": False}, False),
        ("auto", {"chosen": False}, True),
        ("off", {}, False),
        ("tool", {}, False),
    ],
)
async def test_the_setting_decides_and_the_origin_of_the_context_is_its_default(
    orchard: Orchard, mode: RetrievalMode | None, context: dict[str, Any], is_searched: bool
) -> None:
    chat = await orchard.chat(mode, **context)
    content = await orchard.question(chat, "Where are apples counted?")
    assert bool(sources(content)) == bool(orchard.index.scopes) == is_searched


async def test_a_chat_without_context_asks_no_index(orchard: Orchard) -> None:
    chat = await orchard.rig.chat(settings=ModelSettings(agent=AgentSettings(retrieval="auto")))
    assert sources(await orchard.question(chat, "Where are apples counted?")) == []
    assert orchard.index.scopes == []


async def test_a_turn_may_turn_it_off(orchard: Orchard) -> None:
    chat = await orchard.chat()
    orchard.rig.model.answer = [Text("Yes.")]
    off = ModelSettings(agent=AgentSettings(retrieval="off"))
    accepted = await orchard.rig.send(chat, "Where are apples counted?", settings=off)
    assert accepted.message is not None
    assert sources(accepted.message.content) == []


async def test_ids_go_on_over_the_conversation_and_a_fork_keeps_them(orchard: Orchard) -> None:
    chat = await orchard.chat()
    await orchard.question(chat, "Where are apples counted?")
    await orchard.question(chat, "And where are apples and pears counted?")
    view = await orchard.rig.chats.fork(chat, None)
    for one in (chat, view.chat.id):
        messages = (await orchard.rig.snapshot(one)).messages
        assert [[part.source_id for part in sources(m.content)] for m in messages if m.role == "user"] == [
            ["S1"],
            ["S2", "S3"],
        ]


async def test_messages_of_a_queue_get_ids_when_their_turns_begin(orchard: Orchard) -> None:
    chat = await orchard.chat()
    await orchard.rig.send(chat, "Where are apples counted?")
    first = await orchard.rig.model.asked()
    queued = await orchard.rig.send(chat, "Where are pears counted?")
    await first.say(Text("Here [S1]."))
    await first.finish()
    second = await orchard.rig.model.asked()
    assert [one.source_id for one in sources(second.request.messages[-1].parts)] == ["S2"]
    await second.finish()
    await orchard.rig.wait(chat, queued.turn_id)


async def test_an_edited_message_is_searched_for_again(orchard: Orchard) -> None:
    chat = await orchard.chat()
    orchard.rig.model.answer = [Text("Yes.")]
    done = await orchard.rig.ask(chat, "Where are apples counted?")
    edited = await orchard.rig.edit(chat, 1, "Where are pears counted?")
    assert done.ended.outcome == "completed"
    assert edited.message is not None
    assert [(one.source_id, one.title) for one in sources(edited.message.content)] == [("S1", "pears.py")]


async def test_a_source_that_moved_gets_its_new_lines_and_one_that_is_gone_is_left_out(
    orchard: Orchard,
) -> None:
    chat = await orchard.chat()
    stored = await orchard.question(chat, "Where are apples and pears counted?")
    (orchard.folder / "apples.py").write_text(f"import os\n\n{APPLES}")
    (orchard.folder / "pears.py").write_text("nothing = 1\n")
    orchard.rig.model.answer = [Text("Yes.")]
    again = await orchard.rig.retry(chat)
    await orchard.rig.wait(chat, again.turn_id)
    sent = sources(orchard.request.messages[-1].parts)
    assert [(one.title, one.start_line, one.end_line) for one in sent] == [("apples.py", 3, 4)]
    assert (await orchard.rig.snapshot(chat)).messages[0].content == stored


async def test_a_file_that_changes_after_the_search_is_searched_again(orchard: Orchard) -> None:
    chat = await orchard.chat()

    def change() -> None:
        (orchard.folder / "apples.py").write_text("apples = 'changed'\n")

    orchard.index.after_search = change
    content = await orchard.question(chat, "Where are apples counted?")
    assert [one.text for one in sources(content)] == ["apples = 'changed'"]


async def test_what_a_person_refers_to_stays_and_is_not_found_again(orchard: Orchard) -> None:
    chat = await orchard.chat()
    uri = uri_of_path(str(orchard.folder / "apples.py"))
    named = Source(uri, uri, "apples.py", APPLES, origin="reference")
    accepted: list[Acceptance] = []
    draft = Draft((Text("Compare apples and pears"), named))
    await orchard.rig.send_draft(chat, draft, "queue", accepted.append)
    assert accepted[0].message is not None
    content = accepted[0].message.content
    assert content[1] == named
    assert titles(content) == ["apples.py", "pears.py"]


@pytest.mark.parametrize("failure", [ContextError("The disk is full."), RuntimeError("a fault")])
async def test_an_index_that_fails_never_fails_the_turn(orchard: Orchard, failure: Exception) -> None:
    chat = await orchard.chat()
    await orchard.question(chat, "Where are apples counted?")
    orchard.index.failure = failure
    done = await orchard.rig.ask_quickly(chat, "Where are pears counted?")
    assert done.ended.outcome == "completed"
    note = [one for one in (await orchard.rig.snapshot(chat)).messages if one.role == "user"][-1].retrieval
    assert note is not None
    assert note.problem is not None
    request = orchard.request
    assert all(not sources(message.parts) for message in request.messages)  # nothing could be verified


async def test_an_index_that_has_nothing_yet_delays_a_turn_only_for_a_moment(
    orchard: Orchard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "WAIT_SECONDS", 0.2)
    orchard.index.state = "indexing"
    chat = await orchard.chat()
    done = await orchard.rig.ask_quickly(chat, "Where are apples counted?")
    assert done.ended.outcome == "completed"
    note = (await orchard.rig.snapshot(chat)).messages[0].retrieval
    assert note is not None
    assert note.state == "indexing"
    assert len(orchard.index.scopes) > 1  # it was asked again as long as there was time


async def test_what_rules_deny_is_withheld_from_messages_and_from_history(orchard: Orchard) -> None:
    chat = await orchard.chat()
    await orchard.question(chat, "Where are apples counted?")
    rule = Rule("", "deny", "read_file", paths=("apples.py",), scope=RuleScope())
    await orchard.rig.engine.permissions.add(ME, rule)
    content = await orchard.question(chat, "Where are apples and pears counted?")
    assert titles(content) == ["pears.py"]
    request = orchard.request
    assert [one.title for message in request.messages for one in sources(message.parts)] == ["pears.py"]


async def test_include_exclude_and_files_choose_what_is_searched(orchard: Orchard, tmp_path: Path) -> None:
    question = "Where are apples and pears counted?"
    assert titles(await orchard.question(await orchard.chat(include=("ap*",)), question)) == ["apples.py"]
    assert titles(await orchard.question(await orchard.chat(exclude=("ap*",)), question)) == ["pears.py"]
    single = (uri_of_path(str(tmp_path / "pears.py")),)
    chat = await orchard.chat(include=("apples.py",), files=single)
    assert sorted(titles(await orchard.question(chat, question))) == ["apples.py", "pears.py"]


async def test_a_summary_leaves_the_numbers_alone(orchard: Orchard) -> None:
    chat = await orchard.chat()
    await orchard.question(chat, "Where are apples counted?")
    orchard.rig.model.answer = [Text("A summary.")]
    await orchard.rig.compact(chat)
    content = await orchard.question(chat, "Where are pears counted?")
    assert [one.source_id for one in sources(content)] == ["S2"]


def test_old_sources_go_in_blocks_and_the_newest_stay() -> None:
    many = [Source(f"S{number}", "file:///a", "a") for number in range(1, 101)]
    for count in range(101):
        kept = drop_old(many[:count])
        assert min(count, SOURCES_SENT) <= len(kept) < SOURCES_SENT + 20
        assert list(kept) == many[count - len(kept) : count]
    starts = [drop_old(many[:count])[0].source_id for count in range(40, 101)]
    assert sorted(set(starts), key=starts.index) == ["S1", "S21", "S41", "S61"]


async def test_clients_search_a_chat_or_folders_and_see_what_is_stale(orchard: Orchard) -> None:
    search = orchard.rig.engine.retrieval.search
    uri = uri_of_path(str(orchard.folder))
    found = await search(ME, None, (uri,), ["apples"], limit=5, budget_tokens=1000)
    assert titles(found.sources) == ["apples.py"]
    orchard.index.after_search = lambda: (orchard.folder / "apples.py").unlink()
    found = await search(ME, None, (uri,), ["apples"], limit=5, budget_tokens=1000)
    assert found.stale == {"S1"}
    (status,) = await orchard.rig.engine.retrieval.status(ME, [])
    assert (status.root, status.state) == (str(orchard.folder), "ready")
