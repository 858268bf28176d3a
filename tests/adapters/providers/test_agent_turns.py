"""Tools through real requests: several steps of a turn in every dialect, with a provider that is strict."""

import pytest

from parley_daemon.adapters.providers.http_model import HttpModel
from parley_daemon.adapters.providers.provider_type import Access
from parley_daemon.adapters.providers.registry import TYPES
from parley_daemon.core.nesting import MAX_LEVELS
from parley_daemon.core.parts import Part, Text, ToolCall, ToolCallPiece, ToolResult, fold
from parley_daemon.core.records import ModelSettings
from parley_daemon.ports.models import (
    Chunk,
    Finish,
    ModelRequest,
    PromptMemory,
    PromptMessage,
    ToolDeclaration,
    UsageReport,
)
from tests.support.providers.agents import (
    DIALECTS,
    PROVIDER_TYPES,
    AgentProvider,
    Said,
    Turn,
    answer,
    document,
)
from tests.support.providers.built_requests import MODELS
from tests.support.providers.script import status
from tests.support.providers.server import FakeProvider, fake_provider

LONG_NAME = "read_" + "x" * 59
READ = ToolDeclaration(LONG_NAME, "Reads.", {"type": "object", "properties": {"path": {"type": "string"}}})
STEPS = 12


def steps(turn: Turn) -> Said:
    """Think and call two tools at once, a dozen times; then answer."""
    done = len(turn.results) // 2
    if done == STEPS:
        return Said(f"{turn.results[-1]} of {turn.question}")
    name = turn.tools[0]
    calls = [(f"call_{done}_{which}", name, {"path": f"{done}.txt"}) for which in "ab"]
    return Said(f"Step {done}", f"Thought {done}", tuple(calls))


async def ask(model: HttpModel, request: ModelRequest) -> tuple[list[Chunk], tuple[Part, ...]]:
    chunks = [chunk async for batch in model.stream(request) for chunk in batch]
    return chunks, fold([chunk for chunk in chunks if not isinstance(chunk, UsageReport | Finish)])


def open_model(dialect: str, server: FakeProvider) -> HttpModel:
    made = TYPES[PROVIDER_TYPES[dialect]].make_model(Access("p", server.origin, "key"))
    assert isinstance(made, HttpModel)
    return made


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_turn_of_many_steps_with_thoughts_and_parallel_calls(dialect: str) -> None:
    agent, memory = AgentProvider(steps), PromptMemory()
    thinks = ModelSettings(provider_options={"anthropic": {"thinking": {"budgetTokens": 1024}}})
    messages: tuple[PromptMessage, ...] = (PromptMessage("user", (Text("Why?"),)),)
    async with fake_provider() as server:
        server.choose = agent.choose
        model = open_model(dialect, server)
        parts: tuple[Part, ...] = ()
        for step in range(STEPS + 1):
            asked = ModelRequest(MODELS[dialect], messages, "Be brief.", thinks, tools=(READ,), memory=memory)
            chunks, parts = await ask(model, asked)
            assert agent.faults == []
            calls = [part for part in parts if isinstance(part, ToolCall)]
            finish = next(chunk for chunk in chunks if isinstance(chunk, Finish))
            assert finish.reason == ("tool_calls" if step < STEPS else "stop")
            assert [call.tool_name for call in calls] == [LONG_NAME] * (2 if step < STEPS else 0)
            if calls and dialect != "google":  # whose calls come whole
                streamed = [chunk for chunk in chunks if isinstance(chunk, ToolCallPiece)]
                assert len(streamed) >= len(calls)
            if calls:
                assert calls[0].args == {"path": f"{step}.txt"}
            results = [
                PromptMessage("tool", (ToolResult(call.tool_call_id, call.tool_name, "text", False, "ok"),))
                for call in calls
            ]
            messages = (*messages, PromptMessage("assistant", parts), *results)
        assert Text("text of Why?") in parts
        await model.aclose()


@pytest.mark.parametrize("first", DIALECTS)
async def test_a_turn_goes_on_with_another_provider_after_each_step(first: str) -> None:
    agent = AgentProvider(steps)
    thinks = ModelSettings(provider_options={"anthropic": {"thinking": {"budgetTokens": 1024}}})
    messages: tuple[PromptMessage, ...] = (PromptMessage("user", (Text("Why?"),)),)
    order = [first, *[dialect for dialect in DIALECTS if dialect != first]]
    async with fake_provider() as server:
        server.choose = agent.choose
        models = {dialect: open_model(dialect, server) for dialect in DIALECTS}
        for step in range(STEPS):
            dialect = order[step % len(order)]
            asked = ModelRequest(MODELS[dialect], messages, None, thinks, tools=(READ,))
            _, parts = await ask(models[dialect], asked)
            assert agent.faults == []
            # The engine leaves out the reasoning of other models (core/prompts).
            spoken = tuple([part for part in parts if isinstance(part, Text | ToolCall)])
            results = [
                PromptMessage("tool", (ToolResult(part.tool_call_id, part.tool_name, {"n": 1}, False, "ok"),))
                for part in parts
                if isinstance(part, ToolCall)
            ]
            messages = (*messages, PromptMessage("assistant", spoken), *results)
            agent.forget()
        for model in models.values():
            await model.aclose()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_in_one_document_has_the_parts_of_the_streamed_one(dialect: str) -> None:
    said = Said("Look:", "Hm", (("call_1", "read_file", {"path": "a"}), ("call_2", "run", {})))
    body = document(dialect, said)
    batch = (status(200, body, {"Content-Type": "application/json"}),)
    asked = ModelRequest(MODELS[dialect], (PromptMessage("user", (Text("Why?"),)),), tools=(READ,))
    async with fake_provider(answer(dialect, said), batch) as server:
        model = open_model(dialect, server)
        streamed, whole = await ask(model, asked), await ask(model, asked)
        await model.aclose()
    assert whole[1] == streamed[1]
    assert [chunk for chunk in whole[0] if isinstance(chunk, Finish)] == [Finish("tool_calls")]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_arguments_that_not_every_client_could_parse_stay_text(dialect: str) -> None:
    shallow: dict[str, object] = {}
    for _ in range(MAX_LEVELS - 1):
        shallow = {"a": shallow}
    deep: dict[str, object] = {}
    for _ in range(900):
        deep = {"a": deep}
    calls = (("call_1", LONG_NAME, shallow), ("call_2", LONG_NAME, deep))
    async with fake_provider() as server:
        server.choose = AgentProvider(lambda turn: Said("", "", calls)).choose
        model = open_model(dialect, server)
        messages = (PromptMessage("user", (Text("Why?"),)),)
        _, parts = await ask(model, ModelRequest(MODELS[dialect], messages, tools=(READ,)))
        first, second = [part.args for part in parts if isinstance(part, ToolCall)]
        await model.aclose()
    assert first == shallow
    assert isinstance(second, str)
    assert second.startswith('{"a"')
