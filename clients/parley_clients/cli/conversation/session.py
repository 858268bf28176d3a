"""`parley chat` on a terminal: shows a chat live above a prompt, whoever asks in it.

Theory of operation. Three things run at once in one event loop:

- The prompt (`prompt`), which takes keys and never waits for the daemon.
- The view of the chat (`view`). Everything that is shown comes from its events, also what this client asked:
  so a turn that another client starts looks the same, and after a lost connection the view continues.
- The jobs (`jobs`): messages and commands, in the order in which they were entered. If the connection is
  lost, a message is sent again with the same id on the next one, and the daemon answers it once.

Commands (`commands`) use the blocking client. They run in a thread, over the same connection: a portal into
this event loop makes the blocking client out of the asynchronous one.
"""

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread

from parley_clients import sync
from parley_clients.cli.conversation import commands, outcomes
from parley_clients.cli.conversation.agents.answering import Answering
from parley_clients.cli.conversation.agents.folder import report_unusable_folder
from parley_clients.cli.conversation.completer import CommandCompleter
from parley_clients.cli.conversation.context.references import read_references
from parley_clients.cli.conversation.editor import edit_text, open_file
from parley_clients.cli.conversation.history import FileHistory
from parley_clients.cli.conversation.jobs import Job, Jobs
from parley_clients.cli.conversation.keys import Keys
from parley_clients.cli.conversation.prompt import Prompt
from parley_clients.cli.conversation.prompt_area import PromptArea
from parley_clients.cli.conversation.status import status_line, waiting_lines
from parley_clients.cli.conversation.view import View
from parley_clients.cli.display.output import make_console
from parley_clients.cli.errors import CommandError, UsageError, check_text, describe_parley_error
from parley_clients.cli.mentions import with_resources
from parley_clients.cli.options import short_id
from parley_clients.client import Client
from parley_clients.errors import ConnectionLostError, ParleyError
from parley_clients.results import Json
from parley_protocol import runtime

T = TypeVar("T")

SLOW_SECONDS = 1.0
"""After how many seconds a message that was not sent yet is shown."""

_AT_ONCE = ("/stop", "/quit", "/exit", "/help")
"""Commands that do not wait for the jobs before them."""


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a thread, which is abandoned when this call is cancelled."""
    return await to_thread.run_sync(function, abandon_on_cancel=True)


class Conversation:
    """The prompt, the view and the jobs of one run of `parley chat`."""

    def __init__(self, client: Client, context: outcomes.Context) -> None:
        self._client = client
        self._context = context
        self._new_ids = _ids_of_new(context)
        self._editing: int | None = None
        self._stopped_turn: str | None = None
        self._leaves_next = False
        self._lost_at: float | None = None
        self._failure: ParleyError | None = None
        self._tasks = anyio.create_task_group()
        self._jobs = Jobs()
        keys = Keys(
            self._submit, self._interrupt, self._leave, self._on_edited, self._open_editor, self._suspend
        )
        directory = Path(context.options.data_dir or runtime.data_dir()).expanduser()
        completer = CommandCompleter(client, lambda: context.chat.wrapped)
        self._prompt = Prompt(context.options, keys, FileHistory(directory), completer)
        self._area = PromptArea(self._prompt, partial(make_console, context.options))
        self._view = View(self._area, self._refresh)
        self._answering = Answering(context, self._prompt, self._view, self._tasks)

    async def run(self) -> int | None:
        """Show the conversation until the user leaves; return the number of the signal that ended it, if any.

        Raises:
            ParleyError: the connection is lost for good.
        """
        number: int | None = None
        record = self._context.chat.record
        model = "" if record is None else f"{record.raw['model'] or 'no model'} · "
        short = short_id(self._context.chat.id)
        self._view.open(self._context.chat.wrapped, f"{model}chat {short} · /help, Ctrl-D quits")
        async with self._tasks:
            self._tasks.start_soon(self._run_view)
            self._tasks.start_soon(report_unusable_folder, self._context, self._view.note)
            self._tasks.start_soon(self._jobs.run)
            number = await self._prompt.run()
            self._tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True), anyio.move_on_after(SLOW_SECONDS):
                await self._forget_if_empty()
        if self._failure is not None:
            raise self._failure
        self._print_farewell()
        return number

    async def _run_view(self) -> None:
        try:
            await self._view.run()
        except ParleyError as error:
            self._failure = error
            self._prompt.leave()

    # -------------------------------------------------------------------------- keys

    def _submit(self) -> None:
        buffer = self._prompt.buffer
        text = buffer.text
        if self._answering.ignores_enter:
            return
        if not text.strip() and not (self._context.attachments and self._editing is None):
            buffer.reset()
            return
        name = commands.command_name(text, self._model)
        try:
            check_text(text, "The text")
            try:
                if self._answering.submit(text, name):
                    return
            except UsageError as error:
                self._view.note(str(error))
                buffer.append_to_history()  # Up brings it back; the next answer begins in an empty line
                buffer.reset()
                return
            if name in _AT_ONCE:
                self._tasks.start_soon(self._run_command, text)
            elif name is not None:
                self._jobs.add(Job(text, partial(self._run_command, text)))
            else:
                self._jobs.add(Job(text, self._make_message(text.strip("\n").rstrip())))
        except (CommandError, UsageError) as error:
            self._view.note(str(error))
            return
        buffer.append_to_history()
        buffer.reset()
        self._editing = None
        self._leaves_next = False
        self._refresh()

    @property
    def _model(self) -> str | None:
        """The model of the chat, also before its first event."""
        known = self._record
        return None if known is None else known["model"]

    @property
    def _record(self) -> Json | None:
        """The chat without its messages, as far as it is known."""
        record = self._context.chat.record
        return self._view.chat or (None if record is None else record.raw)

    def _make_message(self, text: str) -> Callable[[], Awaitable[None]]:
        """Return the job that sends a text, with the attached files, as a message or as an edit."""
        context = self._context
        text = text.lstrip() if text.lstrip().startswith("/") else text
        parts: list[Json] = [{"type": "text", "text": text}] if text else []
        more = [*read_references(text, self._record), *context.attachments]
        content = [*parts, *more] if more else text
        context.attachments = []
        if self._editing is not None:
            return partial(self._edit, context.chat, self._editing, text, content)
        return partial(self._send, context.chat, text, content, os.urandom(16).hex())

    def _interrupt(self) -> None:
        """Stop the answer; if there is none, discard what is typed; if there is nothing, leave."""
        view, buffer = self._view, self._prompt.buffer
        if view.is_busy and not self._is_stopping:
            self._stopped_turn = view.turn_id or ""
            self._leaves_next = True
            self._tasks.start_soon(self._stop)
        elif buffer.text or self._editing is not None:
            buffer.reset()
            self._editing = None
            self._leaves_next = True
        elif self._leaves_next:
            self._leave()
        else:
            self._leaves_next = True
        self._refresh()

    @property
    def _is_stopping(self) -> bool:
        """Whether the turn that is running was stopped by Ctrl-C already."""
        return (
            self._leaves_next
            and self._stopped_turn is not None
            and (self._stopped_turn in ("", self._view.turn_id))
        )

    def _leave(self) -> None:
        self._prompt.leave()

    def _suspend(self) -> None:
        self._prompt.suspend()

    def _on_edited(self) -> None:
        if self._leaves_next and self._prompt.buffer.text:
            self._leaves_next = False
            self._refresh()

    def _open_editor(self) -> None:
        buffer = self._prompt.buffer

        async def edit() -> None:
            try:
                buffer.text = await in_thread(partial(edit_text, buffer.text))
                buffer.cursor_position = len(buffer.text)
            except CommandError as error:
                self._view.note(str(error))

        self._prompt.run_elsewhere(edit)

    def _open_file(self, file: outcomes.OpenFile) -> None:
        async def open_it() -> None:
            try:
                await in_thread(partial(open_file, file.path, file.line))
            except CommandError as error:
                self._view.note(str(error))

        self._view.note(file.note or "")
        self._prompt.run_elsewhere(open_it)

    # -------------------------------------------------------------------------- jobs

    async def _send(self, chat: sync.Chat, text: str, content: "str | list[Json]", message_id: str) -> None:
        while True:
            try:
                content = await self._add_resources(chat, content)
                await chat.wrapped.send(content, client_message_id=message_id)
                return
            except ConnectionLostError:
                if self._failure is not None:
                    return
                # The next call waits for the next connection.
            except (ParleyError, TimeoutError) as error:
                self._fail(error, text)
                return

    async def _add_resources(self, chat: sync.Chat, content: "str | list[Json]") -> "str | list[Json]":
        return await in_thread(partial(with_resources, self._context.client, chat.id, content))

    async def _edit(self, chat: sync.Chat, message_id: int, text: str, content: "str | list[Json]") -> None:
        try:
            await chat.wrapped.send_edit(message_id, await self._add_resources(chat, content))
        except (ParleyError, TimeoutError) as error:
            self._fail(error, text)

    async def _stop(self) -> None:
        try:
            await self._context.chat.wrapped.interrupt()
        except (ParleyError, TimeoutError) as error:
            self._fail(error, "")

    async def _run_command(self, text: str) -> None:
        context = self._context
        try:
            outcome = await in_thread(partial(commands.run_command, text, context))
            match outcome:
                case outcomes.Show():
                    self._view.note(outcome.text)
                case outcomes.Open():
                    await self._open(outcome.chat)
                case outcomes.OpenFile():
                    self._open_file(outcome)
                case outcomes.Retry():
                    await context.chat.wrapped.send_retry(model=outcome.model)
                case outcomes.Edit() if outcome.content is not None:
                    content = await self._add_resources(context.chat, outcome.content)
                    await context.chat.wrapped.send_edit(outcome.message_id, content)
                case outcomes.Edit():
                    self._editing = outcome.message_id
                    self._prompt.buffer.text = outcome.text
                    self._prompt.buffer.cursor_position = len(outcome.text)
                case outcomes.Send():
                    await self._send(context.chat, outcome.text, outcome.content, os.urandom(16).hex())
                case outcomes.Quit():
                    self._leave()
        except (CommandError, UsageError, ParleyError, TimeoutError) as error:
            self._fail(error, text)
        self._refresh()

    def _fail(self, error: Exception, text: str) -> None:
        """Say what failed, and put the text back unless another one is being typed."""
        message = describe_parley_error(error) if isinstance(error, ParleyError) else str(error)
        self._view.note(message)
        if text and not self._prompt.buffer.text:
            self._prompt.buffer.text = text
            self._prompt.buffer.cursor_position = len(text)

    async def _open(self, chat: sync.Chat) -> None:
        await self._forget_if_empty()
        self._context.chat = chat
        self._editing = None
        if chat.record is not None:
            self._new_ids.add(chat.id)
        self._view.open(chat.wrapped, f"chat {short_id(chat.id)}")

    async def _forget_if_empty(self) -> None:
        """Delete a chat that this run created and that nobody has used: it would only fill the list."""
        chat = self._context.chat
        if chat.id not in self._new_ids or not self._client.is_connected:
            return
        try:
            raw = (await chat.wrapped.get(limit=1)).raw
            if not (raw["messages"] or raw["queuedMessages"] or raw["preview"] or raw["chat"]["title"]):
                await chat.wrapped.delete()
        except (ParleyError, TimeoutError):
            pass  # it is kept

    # ----------------------------------------------------------------------- display

    def _refresh(self) -> None:
        """Show what has changed around the typed text."""
        self._answering.update()
        if self._leaves_next and self._view.is_busy and not self._is_stopping:
            self._leaves_next = False  # another turn has begun since
        if self._client.is_connected:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = time.monotonic()
        waiting = waiting_lines(
            self._jobs.unfinished(SLOW_SECONDS),
            self._view.queue,
            self._context.attachments,
            self._prompt.max_waiting,
        )
        waiting = [*self._answering.lines, *waiting]
        lost_seconds = None if self._lost_at is None else time.monotonic() - self._lost_at
        status = status_line(self._view.chat, lost_seconds, self._leaves_next, self._editing)
        shown = self._prompt.shown
        if (shown.waiting, shown.status) != (waiting, status):
            shown.waiting, shown.status = waiting, status
            self._prompt.refresh()

    def _print_farewell(self) -> None:
        """Say what was not sent, and how to go on, after the prompt has gone."""
        for text in self._jobs.unfinished(0):
            self._view.note(f"not sent: {text}")
        chat = self._view.chat
        if chat is not None and chat["lastMessageId"] and not self._view.is_deleted:
            running = "The answer continues. " if self._view.is_busy else ""
            self._view.note(f"{running}parley chat {short_id(chat['id'])} goes on here.")


def _ids_of_new(context: outcomes.Context) -> set[str]:
    is_new = not (context.options.id or context.options.last)
    return {context.chat.id} if is_new else set()
