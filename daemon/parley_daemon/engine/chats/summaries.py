"""A chat's automatic title, and the summaries that replace old messages in requests."""

from collections.abc import Sequence

from msgspec.structs import replace

from parley_daemon.core.compaction import apply_summaries, drop_open_questions, find_cut
from parley_daemon.core.parts import plain_text
from parley_daemon.core.records import Message, ModelSettings
from parley_daemon.core.refusals import drop_refused
from parley_daemon.engine.chats import turn_changes
from parley_daemon.engine.chats.executor import CommandExecutor
from parley_daemon.engine.chats.live_chat import LiveChat
from parley_daemon.engine.errors import ChatBusyError, ConflictError
from parley_daemon.engine.turns import summarize
from parley_daemon.engine.turns.calls.model_selection import chat_model, find_model
from parley_daemon.ports.catalogue import ResolvedModel

_QUESTION_CHARACTERS = 16_000


class Summaries:
    """The title and the summaries of one chat."""

    __slots__ = ("_executor", "_live")

    def __init__(self, live: LiveChat, executor: CommandExecutor) -> None:
        self._live = live
        self._executor = executor

    # ---------------------------------------------------------------------------- title

    async def first_exchange(self) -> tuple[Message, Message]:
        """Return the first question and the answer to it: the last message of its turn.

        Raises:
            ConflictError: the chat has no answer yet.
        """
        async with self._live.lock:
            history = drop_refused(await self._live.load_history())
            question = next((one for one in history if one.role == "user"), None)
            answers = [one for one in history if one.role == "assistant"]
            if question is None or not answers:
                raise ConflictError("The conversation has no answer yet.")
            turn_id = answers[0].turn_id
            if turn_id is None:  # restored messages, of several turns
                return question, answers[0]
            return question, [one for one in answers if one.turn_id == turn_id][-1]

    async def set_automatic_title(self, title: str) -> None:
        """Set a better automatic title. A title that a person has set meanwhile stays."""
        live = self._live
        async with live.lock:
            if not live.is_deleted and live.chat.title_is_automatic and live.chat.title != title:
                update = self._executor.plan_update(lambda chat: replace(chat, title=title))
                await self._executor.carry_out(update)

    # ------------------------------------------------------------------------ summaries

    async def compact(self) -> Message:
        """Summarize the active branch for later requests, on demand; return the summary.

        Raises:
            ChatBusyError: a turn is under way.
            ConflictError: there is nothing to summarize.
            ModelError: the model call failed.
            and what `LiveChat.check_turn` raises.
        """
        if self._live.state.is_busy:
            raise ChatBusyError("A turn is under way in the chat. Compact the chat when the turn has ended.")
        await self._live.check_turn(None, ModelSettings())
        async with self._live.services.summary_slots:
            return await self.summarize_branch(ModelSettings())

    async def summarize_branch(self, settings: ModelSettings) -> Message:
        """Summarize the active branch up to its last answer, with the chat's model; return the summary.

        `settings` take precedence over the chat's: they say whether only a local model may read the branch.

        Raises:
            ConflictError: there is nothing to summarize, or the chat has no model.
            NotLocalError: the chat's model is not local, and only local models are allowed.
            ModelError: the model call failed.
        """
        live = self._live
        catalogue = live.services.catalogue
        reference = chat_model(catalogue, live.chat.model)
        if reference is None:
            raise ConflictError("The chat has no model that could summarise it.")
        model = find_model(catalogue, reference, settings.with_defaults(live.chat.settings))
        async with live.lock:
            live.check_open()
            branch = drop_open_questions(await live.load_history())
            to_send = drop_refused(apply_summaries(branch, live.summaries))
        if len(to_send) < 2:
            raise ConflictError("There is nothing to summarise.")
        return await self._summarize(model, to_send, branch[-1].id)

    async def shorten(self, model: ResolvedModel, history: tuple[Message, ...]) -> tuple[Message, ...] | None:
        """Replace all before the last question by a summary (TurnHost.compact).

        If there is nothing before it, or only a summary, the first tool calls of the turn are replaced, with
        the question, whose words the summary repeats. None: there is nothing that can be replaced.

        Raises:
            ModelError: the model call failed.
        """
        last = max(index for index, message in enumerate(history) if message.role == "user")
        older = history[:last]
        if older and not (len(older) == 1 and older[0] in [one.message for one in self._live.summaries]):
            message = await self._summarize(model, older, older[-1].id)
            return (message, *history[last:])
        end = find_cut(history, last)
        if end is None:
            return None
        question = history[last]
        message = await self._summarize(model, history[:end], history[end - 1].id, question)
        return (message, *history[end:])

    async def _summarize(
        self,
        model: ResolvedModel,
        messages: Sequence[Message],
        after_id: int,
        question: Message | None = None,
    ) -> Message:
        live = self._live
        policy = live.services.summary_policy
        text, usage = await summarize.summarize(model, messages, policy.summary_seconds)
        if question is not None and question not in [one.message for one in live.summaries]:
            words = plain_text(question.content)[:_QUESTION_CHARACTERS]
            text = f"{text}\n\nThe question that is being worked on, word by word:\n{words}"
        async with live.lock:
            live.check_exists()
            changeset = self._executor.new_changeset()
            message = turn_changes.add_summary(changeset, after_id, text, usage, model.id)
            await self._executor.carry_out(changeset)
            return message
