"""The tools by which a model talks to people: a list of tasks, questions, and a plan to approve.

Questions and plans only say in their inspection what they ask. The engine asks, and runs the call with the
answer.
"""

from typing import Annotated, Any, Literal

import msgspec

from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.answers import Question, read_answers, read_approved_mode
from parley_daemon.core.agents.rules import SandboxKind
from parley_daemon.core.agents.tools import Inspection, Preview, ToolOutput, ToolSpec
from parley_daemon.ports.tool_arguments import input_schema, read_arguments
from parley_daemon.ports.tools import CallContext, CallMonitor, Tool, ToolInputError

MAX_ITEMS = 100
MAX_QUESTIONS = 10
MAX_PLAN = 100_000
_TITLE = 80


class _Item(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000, description="One task, in a sentence.")]
    status: Literal["pending", "in_progress", "completed"]


class _Todo(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    items: Annotated[list[_Item], msgspec.Meta(max_length=MAX_ITEMS, description="The whole list, in order.")]


class _AskUser(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    questions: Annotated[
        list[Question],
        msgspec.Meta(
            min_length=1,
            max_length=MAX_QUESTIONS,
            description="Questions that are asked together. Options are suggestions: a person may answer in"
            " other words. multi: several answers may be given.",
        ),
    ]


class _ExitPlan(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    plan: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=MAX_PLAN, description="The whole plan, in Markdown."),
    ]


_MARKS = {"pending": "[ ]", "in_progress": "[ ] (in progress)", "completed": "[x]"}


class TodoTool:
    """`todo`: the model keeps a list of tasks, which people see as the result of its newest call."""

    spec = ToolSpec(
        "todo",
        "Task list",
        "Replace the list of tasks of this chat. Use it for work of several steps: write the list down at the"
        " beginning, have one task in_progress at a time, and set a task to completed as soon as it is done.",
        input_schema(_Todo),
        "ask",
    )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        items = read_arguments(_Todo, args).items
        _refuse_blanks(*(("item", item.text) for item in items))
        done = sum(item.status == "completed" for item in items)
        return Inspection(
            f"List {len(items)} tasks, {done} completed" if items else "Clear the list of tasks"
        )

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the list as Markdown, which every client can show; see Tool."""
        items = read_arguments(_Todo, args).items
        lines = [f"- {_MARKS[item.status]} {' '.join(item.text.split())}" for item in items]
        return ToolOutput("\n".join(lines) or "The list is empty.")

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class AskUserTool:
    """`ask_user`: questions to the person who uses the chat."""

    spec = ToolSpec(
        "ask_user",
        "Ask",
        "Ask the user questions and wait for the answers. Use it where the answer changes what you do, and it"
        " cannot be found out otherwise.",
        input_schema(_AskUser),
        "ask",
    )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        questions = read_arguments(_AskUser, args).questions
        _refuse_blanks(*(("question", question.text) for question in questions))
        _refuse_blanks(*(("option", option) for question in questions for option in question.options))
        title = _shorten(questions[0].text)
        if len(questions) > 1:
            title = f"{len(questions)} questions: {title}"
        return Inspection(title, Preview(questions=msgspec.to_builtins(questions)), asks="question")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return the answers with their questions; see Tool."""
        questions = read_arguments(_AskUser, args).questions
        answers = read_answers(inspection.preview.questions, _result_of(answer))
        return ToolOutput(
            {
                "answers": [
                    {"question": question.text, "answer": list(given) if question.multi else given[0]}
                    for question, given in zip(questions, answers, strict=True)
                ]
            }
        )

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


class ExitPlanTool:
    """`exit_plan`: shows the plan. When a person approves it, the chat leaves the mode "plan"."""

    spec = ToolSpec(
        "exit_plan",
        "Show the plan",
        "Show your plan to the user for approval. Call it once you know what to change, and change nothing"
        " before it is approved. If it is denied, the result has the reason: improve the plan.",
        input_schema(_ExitPlan),
        "ask",
        is_for_plans=True,
    )

    async def inspect(self, args: Any, context: CallContext) -> Inspection:
        """See Tool."""
        plan = read_arguments(_ExitPlan, args).plan
        _refuse_blanks(("plan", plan))
        if context.mode != "plan":
            raise ToolInputError(
                f'The mode of this chat is "{context.mode}" by now, in which no plan has to be approved.'
                " Go on with the work."
            )
        first = next(line for line in plan.splitlines() if line.strip()).strip(" #*")
        return Inspection(_shorten(f"Plan: {first}"), Preview(plan=plan), asks="plan")

    async def run(
        self,
        args: Any,
        context: CallContext,
        inspection: Inspection,
        monitor: CallMonitor,
        answer: Answer | None,
    ) -> ToolOutput:
        """Return that the plan is approved, and the mode that follows; see Tool."""
        mode = read_approved_mode(_result_of(answer))
        return ToolOutput(
            f'The plan is approved as it was shown. The mode of the chat is "{mode}" now: {_AFTER_PLAN[mode]}'
            " Carry out the plan.",
            mode=mode,
        )

    def sandbox(self, context: CallContext) -> SandboxKind | None:
        """See Tool."""
        return None


_AFTER_PLAN = {
    "ask": "edits and commands are shown to the user before they happen.",
    "edits": "edits below the chat's folders happen unasked, commands are shown to the user first.",
    "auto": "edits below the chat's folders and commands in the sandbox happen unasked.",
}


def question_tools() -> list[Tool]:
    """Return the tools of this module."""
    return [TodoTool(), AskUserTool(), ExitPlanTool()]


def _result_of(answer: Answer | None) -> Any:
    if answer is None or answer.outcome != "allowed":
        raise ValueError("a call that asks is run with the answer that allows it")
    return answer.result


def _refuse_blanks(*texts: tuple[str, str]) -> None:
    for name, text in texts:
        if not text.strip():
            raise ToolInputError(f"The text of the {name} is blank.")


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"
