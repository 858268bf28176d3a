"""What the steps of a turn change: each function adds one step to a changeset."""

from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.agents.steps import ToolStep
from parley_daemon.core.commands import OpenQuestion, StopCause
from parley_daemon.core.compaction import Summary, apply_summaries, summary_content
from parley_daemon.core.events import ErrorRaised, MessageAdded, StatusChanged, TurnEnded, TurnStarted
from parley_daemon.core.parts import Text, ToolCall, ToolResult
from parley_daemon.core.prompts import drop_repeated_questions
from parley_daemon.core.records import Chat, Message, QueuedMessage, Status, Turn, Usage
from parley_daemon.core.refusals import drop_refused
from parley_daemon.core.retrieval import number_sources
from parley_daemon.core.titles import first_title
from parley_daemon.core.transitions import status_after
from parley_daemon.engine.agents.host import StepBrief
from parley_daemon.engine.chats.changeset import Changeset
from parley_daemon.engine.turns.host import NextCall, TurnBrief, TurnResult
from parley_daemon.ports.store_writes import AddSummary, DropJournal, DropQueued, PutTurn

# ------------------------------------------------------------------------- a turn begins


def accept_message(
    changeset: Changeset,
    queued: QueuedMessage,
    *,
    from_queue: bool,
    history: Sequence[Message],
    default_model: str | None,
) -> None:
    """Add a message to the active branch and open the turn that answers it."""
    title = _first_title(changeset.chat, queued)
    if title is not None:
        changeset.chat = replace(changeset.chat, title=title)
    if from_queue:
        changeset.writes.append(DropQueued(queued.id))
    question = changeset.add_message(_question(changeset, queued, queued.turn_id, history))
    open_question = OpenQuestion(queued.turn_id, question, queued.model, queued.settings)
    _open_turn(changeset, open_question, history, default_model)
    follows_a_turn = any(isinstance(event, TurnEnded) for event in changeset.events)
    changeset.drop_queue_event()
    changeset.events.append(MessageAdded(question, question.turn_id))
    if title is not None or changeset.branch is not None:
        changeset.publish_chat()
    if from_queue or changeset.cancelled_turns:
        changeset.publish_queue()
    if not follows_a_turn:  # otherwise the end of that turn has published the new status
        changeset.events.append(StatusChanged(changeset.state.status, question.turn_id))


def answer_question(
    changeset: Changeset,
    open_question: OpenQuestion,
    *,
    history: Sequence[Message],
    default_model: str | None,
) -> None:
    """Open a turn for a question at the end of the active branch."""
    _open_turn(changeset, open_question, history, default_model)
    if changeset.branch is not None:
        changeset.publish_chat()
    changeset.events.append(StatusChanged(changeset.state.status, open_question.turn_id))


def _first_title(chat: Chat, queued: QueuedMessage) -> str | None:
    """Return a title made from the chat's first message, None when it has one or shall have none."""
    if chat.title is None and chat.title_is_automatic:
        return first_title(" ".join([part.text for part in queued.content if isinstance(part, Text)]))
    return None


def _question(
    changeset: Changeset, queued: QueuedMessage, turn_id: str, history: Sequence[Message]
) -> Message:
    before = history if changeset.branch is None else changeset.branch
    return Message(
        id=changeset.chat.last_message_id + 1,
        chat_id=changeset.chat.id,
        parent_id=changeset.chat.leaf_id,
        turn_id=turn_id,
        role="user",
        content=number_sources(queued.content, (*before, *changeset.messages)),
        created_at=changeset.at,
        client_message_id=queued.client_message_id,
        origin=queued.origin,
        retrieval=queued.retrieval,
    )


def _open_turn(
    changeset: Changeset, open_question: OpenQuestion, history: Sequence[Message], default_model: str | None
) -> None:
    chat, question = changeset.chat, open_question.message
    references = tuple(
        dict.fromkeys([name for name in (open_question.model, chat.model, default_model) if name])
    )
    model = references[0] if references else None
    turn = Turn(open_question.turn_id, chat.id, question.id, changeset.at, model, open_question.settings)
    # The answer's id is used up when the turn is accepted: a crash must not give it to another message.
    message_id = chat.last_message_id + 1
    changeset.chat = replace(
        chat,
        status=Status.WAITING,
        last_error=None,
        updated_at=changeset.at,
        last_message_id=message_id,
    )
    changeset.brief = TurnBrief(
        turn=turn,
        message_id=message_id,
        references=references,
        system_prompt=chat.system_prompt,
        settings=open_question.settings.with_defaults(chat.settings),
        history=_request_history(changeset, history),
        omitted=changeset.omitted,
        prompts=changeset.prompts,
    )
    changeset.writes.append(PutTurn(turn))


def resumed_brief(chat: Chat, turn: Turn, step: ToolStep, default_model: str | None) -> TurnBrief:
    """Return what the run of a turn needs that goes on with its tool calls after a restart."""
    names = dict.fromkeys([name for name in (turn.model, chat.model, default_model) if name])
    return TurnBrief(
        turn=turn,
        message_id=step.results_id,
        references=tuple(names),
        system_prompt=chat.system_prompt,
        settings=turn.settings.with_defaults(chat.settings),
        history=(),  # it is read when the model is asked again
    )


def begin_turn(changeset: Changeset, turn: Turn) -> None:
    """Publish that the turn has its slot and runs."""
    changeset.events.append(TurnStarted(turn.id, turn.user_message_id, turn.model))
    changeset.events.append(StatusChanged(changeset.state.status, turn.id))


# ------------------------------------------------------------------------ between two calls


def add_answer(changeset: Changeset, result: TurnResult, history: Sequence[Message]) -> None:
    """Add what a model call answered to the active branch, and mark what the provider has refused.

    The usage counts even when the model answered nothing.
    """
    _add_answer(changeset, result)
    if result.refusal is not None:
        changeset.mark_refused(history, result.refused, result.refusal)


def _add_answer(changeset: Changeset, result: TurnResult) -> None:
    turn_id, chat = result.turn.id, changeset.chat
    changeset.step = None
    if result.usage is not None:
        changeset.chat = replace(chat, usage=chat.usage.add(result.usage))
    if not result.parts:
        changeset.writes.append(DropJournal(chat.id, result.message_id))
        return
    answer = changeset.add_message(
        Message(
            id=result.message_id,
            chat_id=chat.id,
            parent_id=chat.leaf_id,
            turn_id=turn_id,
            role=result.role,
            content=result.parts,
            created_at=changeset.at,
            model=result.model if result.role == "assistant" else None,
            usage=result.usage,
            complete=result.is_whole,
        )
    )
    changeset.events.append(MessageAdded(answer, turn_id))
    if result.results:
        _add_results(changeset, turn_id, result.results)


def _add_results(changeset: Changeset, turn_id: str, results: tuple[ToolResult, ...]) -> None:
    """Add the results of calls that do not run to the active branch."""
    chat = changeset.chat
    answer = changeset.add_message(
        Message(
            id=chat.last_message_id + 1,
            chat_id=chat.id,
            parent_id=chat.leaf_id,
            turn_id=turn_id,
            role="tool",
            content=results,
            created_at=changeset.at,
        )
    )
    changeset.events.append(MessageAdded(answer, turn_id))


def begin_step(changeset: Changeset, result: TurnResult, origin: str | None) -> StepBrief:
    """Return the step that runs the calls of an answer, which was added. Its results get an id."""
    chat = changeset.chat
    results_id = chat.last_message_id + 1
    changeset.chat = replace(chat, last_message_id=results_id, updated_at=changeset.at)
    changeset.put_step(result.turn, ToolStep(result.message_id, results_id, used_ms=result.used_ms))
    calls = tuple([part for part in result.parts if isinstance(part, ToolCall)])
    return StepBrief(result.turn, result.message_id, results_id, calls, origin)


def join_message(changeset: Changeset, queued: QueuedMessage, history: Sequence[Message]) -> None:
    """Make a message that steers the turn under way one more question of it."""
    changeset.writes.append(DropQueued(queued.id))
    turn_id = changeset.state.turn_id or queued.turn_id
    question = changeset.add_message(_question(changeset, queued, turn_id, history))
    changeset.events.append(MessageAdded(question, question.turn_id))
    changeset.publish_queue()


def next_call(changeset: Changeset, history: Sequence[Message]) -> NextCall:
    """Return the next model call of the turn, with an id for its answer."""
    chat = changeset.chat
    changeset.chat = replace(chat, last_message_id=chat.last_message_id + 1, updated_at=changeset.at)
    return NextCall(changeset.chat.last_message_id, _request_history(changeset, history))


def _request_history(changeset: Changeset, history: Sequence[Message]) -> tuple[Message, ...]:
    """Return the active branch as it is sent to a model."""
    branch = history if changeset.branch is None else changeset.branch
    shortened = apply_summaries((*branch, *changeset.messages), changeset.summaries)
    return drop_repeated_questions(drop_refused(shortened))


# --------------------------------------------------------------------------- a turn ends


def stop_turn(changeset: Changeset, cause: StopCause, turn: Turn | None, *, is_stopping: bool) -> None:
    """Stop the run of `turn`. `is_stopping`: it was told to stop before, for a weaker cause.

    Its open questions are resolved at once: the chat is not paused any more.
    """
    changeset.stop_cause = cause
    if turn is not None and changeset.step is not None and changeset.step.requests:
        changeset.resolve_requests(turn.id)
        changeset.put_step(turn, changeset.step)
    if not is_stopping:
        changeset.events.append(StatusChanged(changeset.state.status, changeset.state.turn_id))


def finish_turn(changeset: Changeset, result: TurnResult, history: Sequence[Message]) -> None:
    """Add the answer, close the turn, free the chat."""
    turn_id = result.turn.id
    status = status_after(result.outcome, is_delegated=changeset.chat.is_delegated)
    changeset.chat = replace(changeset.chat, updated_at=changeset.at, status=status, last_error=result.error)
    changeset.resolve_requests(turn_id)
    add_answer(changeset, result, history)
    changeset.writes.append(PutTurn(_close_turn(result, changeset.at)))
    if result.error is not None:
        changeset.events.append(ErrorRaised(result.error, turn_id))
    changeset.events.append(StatusChanged(changeset.state.status, turn_id))
    changeset.events.append(
        TurnEnded(
            turn_id,
            result.outcome,
            result.stop_reason,
            result.turn_usage,
            result.timings,
            result.error,
            result.output,
            tuple([child.chat_id for child in changeset.children.active]),
        )
    )


def _close_turn(result: TurnResult, at: str) -> Turn:
    return replace(
        result.turn,
        model=result.model or result.turn.model,
        ended_at=at,
        outcome=result.outcome,
        stop_reason=result.stop_reason,
        usage=result.turn_usage,
        error=result.error,
        output=result.output,
        step=None,
    )


# ----------------------------------------------------------------------------- summaries


def add_summary(changeset: Changeset, after_id: int, text: str, usage: Usage | None, model: str) -> Message:
    """Replace the branch up to the message `after_id` by a summary in later requests.

    Return the summary's message. It is not part of the branch.
    """
    chat = changeset.chat
    message = Message(
        id=chat.last_message_id + 1,
        chat_id=chat.id,
        parent_id=after_id,
        turn_id=None,
        role="user",
        content=summary_content(text),
        created_at=changeset.at,
        model=model,
        usage=usage,
    )
    total = chat.usage if usage is None else chat.usage.add(usage)
    summary = Summary(after_id, message)
    changeset.writes.append(AddSummary(summary))
    changeset.summaries = (*[one for one in changeset.summaries if one.after_id != after_id], summary)
    changeset.update_chat(replace(chat, usage=total, last_message_id=message.id))
    return message
