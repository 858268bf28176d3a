"""Turns whose tool calls fill the context of the model: the first ones are summarized."""

import pytest

from parley_daemon.core.compaction import find_cut, transcript
from parley_daemon.core.parts import Text, ToolResult
from parley_daemon.core.records import Message
from tests.support.engine.rig import running
from tests.support.engine.scripted_tools import ROOT, ScriptedTool, call, start
from tests.support.engine.toolbox import GivenToolbox

pytestmark = pytest.mark.anyio


async def test_the_first_calls_of_a_long_turn_are_summarized_and_the_question_stays() -> None:
    read = ScriptedTool("read", "read", result=lambda args: f"{args['n']} " + "long " * 1_200)
    async with running(toolbox=GivenToolbox(read, roots=(ROOT,))) as rig:
        chat_id, heard = await start(rig)
        for number in range(3):
            await (await rig.model.asked()).finish(call("read", n=number), reason="tool_calls")
        summary = await rig.model.asked()
        assert summary.request.purpose == "summary"
        assert "0 long" in summary.prompt
        await summary.finish("It read a file.")
        await (await rig.model.asked()).finish("It read two files.")
        asked = await rig.model.asked()
        messages = asked.request.messages
        assert [one.role for one in messages] == ["user", "assistant", "tool"]
        (text,) = [part.text for part in messages[0].parts if isinstance(part, Text)]
        assert "It read two files." in text
        assert text.endswith("Do it.")
        await asked.finish("Done.")
        assert (await heard.ended()).outcome == "completed"
        assert len((await rig.snapshot(chat_id)).messages) == 8
        assert [args["n"] for args in read.runs] == [0, 1, 2]


def test_the_newest_calls_always_stay() -> None:
    def message(id: int, role: str, text: str) -> Message:
        return Message(id, "c", None, "t", role, (Text(text),), "")  # type: ignore[arg-type]

    step = [message(2, "assistant", "call"), message(3, "tool", "x" * 4_000)]
    question = message(1, "user", "Do it.")
    assert find_cut([question, *step], 0) is None
    assert find_cut([question, *step, *step], 0) == 3
    assert find_cut([question, *step * 4], 0) == 5


def test_a_summary_reads_no_bytes_of_images() -> None:
    result = [{"type": "text", "text": "a chart"}, {"type": "file", "mediaType": "image/png", "data": "QUJD"}]
    answer = ToolResult("1", "read", result, is_error=False, outcome="ok")
    message = Message(1, "c", None, "t", "tool", (answer,), "")
    assert transcript([message]) == "TOOL:\n[read answers: a chart\n(image/png)]"
