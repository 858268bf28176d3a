"""What may be answered to an action request, and what an answer says.

Theory of operation. `check_answer` is asked before an answer is taken: an answer that makes no sense is
refused, and its request stays open. The other functions read an answer that was taken. The shapes of
`result`:

- a denial of any kind: nothing, or `{"reason"}`, which the model reads.
- `question`: `{"answers": […]}`, one answer for each question in their order: a string, or a list of strings
  where several may be chosen. A question's options are suggestions; other words are an answer, too.
- `plan`: nothing, or `{"mode"}`: the chat's mode after it, "ask" if it is missing.
- `elicitation`: `{"answers": {…}}`, the fields of the form; nothing where a page is to be visited.
- `tool`: `{"content", "isError"?}`: content is a string, a list of parts, or any other JSON value.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

import msgspec

from parley_daemon.core.agents.actions import ActionDecision, ActionRequest, Answer
from parley_daemon.core.agents.mcp_tools.forms import read_form_answers
from parley_daemon.core.agents.tools import ApprovedMode, ToolOutput
from parley_daemon.core.nesting import MAX_LEVELS, is_too_deep

MAX_REASON = 4_000
"""Characters of the reason of a denial."""

MAX_ANSWER = 32_000
"""Characters of one answer to a question."""

MAX_CHOICES = 20
"""Options of a question, and answers to it."""

MAX_CONTENT = 4 * 2**20
"""Bytes of the result of a client's tool, as JSON."""


_Shape = TypeVar("_Shape")


class InvalidAnswerError(ValueError):
    """An answer does not fit its request. The message is a sentence that says what is expected."""


class Question(
    msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A question of a model to a person. `multi`: several answers may be given."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4_000)]
    options: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)], ...],
        msgspec.Meta(max_length=MAX_CHOICES),
    ] = ()
    multi: bool = False


class _Closed(msgspec.Struct, frozen=True, gc=False, rename="camel", forbid_unknown_fields=True):
    """An object without fields that are not known."""


class _Denial(_Closed, frozen=True, gc=False):
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] | None = None


class _Answers(_Closed, frozen=True, gc=False):
    answers: list[str | list[str]]


class _PlanAnswer(_Closed, frozen=True, gc=False):
    mode: ApprovedMode = "ask"


class _ToolAnswer(_Closed, frozen=True, gc=False):
    content: Any
    is_error: bool = False


class _TextContent(_Closed, frozen=True, gc=False, tag_field="type", tag="text"):
    text: str


class _FileContent(_Closed, frozen=True, gc=False, tag_field="type", tag="file"):
    media_type: Annotated[str, msgspec.Meta(pattern=r"^[\w.+-]+/[\w.+-]+$")]
    data: bytes  # base64 as JSON


def check_answer(request: ActionRequest, decision: ActionDecision, result: Any) -> None:
    """Check the `result` that comes with a decision.

    Raises:
        InvalidAnswerError: it does not fit the request.
    """
    if decision == "deny":
        _read_denial(result)
    elif request.kind == "question":
        read_answers(request.preview.questions, result)
    elif request.kind == "plan":
        read_approved_mode(result)
    elif request.kind == "elicitation":
        _check_form_answers(request, result)
    elif request.kind == "tool":
        read_tool_answer(result)


def _check_form_answers(request: ActionRequest, result: Any) -> None:
    is_form = form_schema(request) is not None
    if read_form_answers(result) is None if is_form else result is not None:
        raise InvalidAnswerError(
            'The result of an answer to a form is {"answers": {...}}: the fields that its schema names.'
            if is_form
            else "The answer to a request to visit a page has no result: allow it when you have been there."
        )


def form_schema(request: ActionRequest) -> Mapping[str, Any] | None:
    """Return the schema of the answers to a form; None: the request is none."""
    form = request.preview.form
    return None if form is None or request.kind != "elicitation" else form.answer_schema


def read_reason(answer: Answer) -> str | None:
    """Return the reason that a person gave for a denial; None: there is none."""
    try:
        reason = _read_denial(answer.result)
    except InvalidAnswerError:
        return None
    return reason.strip() or None if reason else None


def read_answers(questions: Any, result: Any) -> tuple[tuple[str, ...], ...]:
    """Return the answers to questions, each as one text or several, without blanks around them.

    `questions`: as they stand in a preview (see Question).

    Raises:
        InvalidAnswerError: they do not fit the questions.
    """
    asked = msgspec.convert(questions, tuple[Question, ...])
    given = _convert(
        result,
        _Answers,
        'The result of an answer to questions is {"answers": [...]}: for each question a string, or a list of'
        " strings where several may be chosen.",
    ).answers
    if len(given) != len(asked):
        raise InvalidAnswerError(f"answers has {len(given)} answers; it needs one for each of {len(asked)}.")
    return tuple(
        _read_choices(number, question, answer)
        for number, (question, answer) in enumerate(zip(asked, given, strict=True), 1)
    )


def read_approved_mode(result: Any) -> ApprovedMode:
    """Return the mode of a chat after its plan was approved.

    Raises:
        InvalidAnswerError: it is not a mode that a plan leads to.
    """
    if result is None:
        return "ask"
    return _convert(
        result, _PlanAnswer, 'The result of an approved plan is {"mode": "ask"}, or "edits" or "auto".'
    ).mode


def read_tool_answer(result: Any) -> ToolOutput:
    """Return what a client's tool resulted in.

    Raises:
        InvalidAnswerError: it is not a result.
    """
    answer = _convert(
        result,
        _ToolAnswer,
        'The result of a tool is {"content", "isError"}: content is a string, a list of text and file parts,'
        " or another JSON value; isError is a boolean.",
    )
    if is_too_deep(answer.content):
        raise InvalidAnswerError(f"content is nested too deep; it may have {MAX_LEVELS} levels.")
    if _looks_like_parts(answer.content):
        _convert(
            answer.content,
            list[_TextContent | _FileContent],
            'A part of content is {"type": "text", "text"} or {"type": "file", "mediaType", "data"}, with'
            " data in base64.",
        )
    size = len(msgspec.json.encode(answer.content))
    if size > MAX_CONTENT:
        raise InvalidAnswerError(
            f"content has {size:,} bytes as JSON; the result of a tool has at most {MAX_CONTENT:,}."
        )
    return ToolOutput(answer.content, "failed" if answer.is_error else "ok")


def _read_denial(result: Any) -> str | None:
    if result is None:
        return None
    return _convert(
        result,
        _Denial,
        f'The result of a denial is {{"reason"}}, a text of at most {MAX_REASON:,} characters, or missing.',
    ).reason


def _read_choices(number: int, question: Question, answer: str | list[str]) -> tuple[str, ...]:
    texts = [answer] if isinstance(answer, str) else answer
    if len(texts) > MAX_CHOICES or (len(texts) > 1 and not question.multi):
        most = f"at most {MAX_CHOICES} answers" if question.multi else "one answer"
        raise InvalidAnswerError(f"Question {number} has {most}, not {len(texts)}.")
    if any(len(text) > MAX_ANSWER for text in texts):
        raise InvalidAnswerError(f"An answer has at most {MAX_ANSWER:,} characters; question {number}.")
    choices = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not choices and not question.multi:
        raise InvalidAnswerError(f"Question {number} has no answer. Deny the request to answer nothing.")
    return choices


def _looks_like_parts(content: Any) -> bool:
    if not isinstance(content, list) or not content:
        return False
    items = cast("list[Any]", content)
    return all(
        isinstance(item, dict) and cast("dict[str, Any]", item).get("type") in ("text", "file")
        for item in items
    )


def _convert(value: Any, shape: type[_Shape], expected: str) -> _Shape:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise InvalidAnswerError(expected) from error
