"""The tools by which a model talks to people."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from parley_daemon.adapters.tools.questions import AskUserTool, ExitPlanTool, TodoTool, question_tools
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.rules import AgentMode
from parley_daemon.core.agents.tools import FileChange, Preview
from parley_daemon.ports.tools import CallContext, OtherTurns, Tool, ToolInputError, Workspace


class Silence:
    """A CallMonitor of which nothing is expected."""

    async def report(self, text: str) -> None:
        raise AssertionError(f"reported {text!r}")

    def note_progress(self, text: str) -> None:
        """See CallMonitor."""

    def wait_for_others(self) -> AbstractAsyncContextManager[OtherTurns]:
        """See CallMonitor."""
        raise AssertionError("no call of these tools waits for another chat")

    async def ask(self, title: str, preview: Preview) -> Answer:
        """See the port."""
        return Answer("denied")

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        raise AssertionError(f"changed {files}")


def context(mode: AgentMode = "ask") -> CallContext:
    return CallContext("chat", "local", "turn", 3, "call", mode, Workspace())


async def run(tool: Tool, args: Any, result: Any = None, mode: AgentMode = "ask") -> Any:
    inspection = await tool.inspect(args, context(mode))
    answer = Answer("allowed", "vim", result) if inspection.asks else None
    return await tool.run(args, context(mode), inspection, Silence(), answer)


async def test_a_task_list_is_its_own_result() -> None:
    args = {"items": [{"text": "Read", "status": "completed"}, {"text": "Fix", "status": "in_progress"}]}
    assert (await TodoTool().inspect(args, context())).title == "List 2 tasks, 1 completed"
    assert (await run(TodoTool(), args)).result == "- [x] Read\n- [ ] (in progress) Fix"
    assert (await run(TodoTool(), {"items": []})).result == "The list is empty."


async def test_questions_are_shown_and_come_back_with_their_answers() -> None:
    args = {
        "questions": [
            {"text": "Which  database?", "options": ["SQLite", "PostgreSQL"]},
            {"text": "Which platforms?", "multi": True},
        ]
    }
    inspection = await AskUserTool().inspect(args, context())
    assert (inspection.asks, inspection.title) == ("question", "2 questions: Which database?")
    assert [question["text"] for question in inspection.preview.questions] == [
        "Which  database?",
        "Which platforms?",
    ]
    output = await run(AskUserTool(), args, {"answers": ["SQLite", ["Linux"]]})
    assert output.result == {
        "answers": [
            {"question": "Which  database?", "answer": "SQLite"},
            {"question": "Which platforms?", "answer": ["Linux"]},
        ]
    }


async def test_an_approved_plan_changes_the_mode_as_the_answer_says() -> None:
    args = {"plan": "\n# Rename the module\n1. Move it."}
    inspection = await ExitPlanTool().inspect(args, context("plan"))
    assert (inspection.asks, inspection.title) == ("plan", "Plan: Rename the module")
    assert inspection.preview.plan == args["plan"]
    assert (await run(ExitPlanTool(), args, mode="plan")).mode == "ask"
    output = await run(ExitPlanTool(), args, {"mode": "edits"}, mode="plan")
    assert (output.mode, output.outcome) == ("edits", "ok")
    with pytest.raises(ToolInputError, match='is "edits" by now'):
        await ExitPlanTool().inspect(args, context("edits"))


@pytest.mark.parametrize(
    ("tool", "args", "why"),
    [
        (TodoTool(), {"items": [{"text": "a", "status": "doing"}]}, r"`\$\.items\[0\]\.status`"),
        (TodoTool(), {"items": [{"text": " ", "status": "pending"}]}, "item is blank"),
        (AskUserTool(), {"questions": []}, r"length >= 1 - at `\$\.questions`"),
        (AskUserTool(), {"questions": [{"text": "?", "options": [" "]}]}, "option is blank"),
        (AskUserTool(), {"questions": [{"text": "?", "default": 1}]}, "unknown field `default`"),
        (ExitPlanTool(), "a plan", "must be a JSON object"),
    ],
)
async def test_invalid_arguments_are_named(tool: Tool, args: object, why: str) -> None:
    with pytest.raises(ToolInputError, match=why):
        await tool.inspect(args, context("plan"))


def test_schemas_of_arguments_have_no_references() -> None:
    for tool in question_tools():
        schema = tool.spec.input_schema
        assert schema["type"] == "object"
        assert "$ref" not in str(schema)
