"""`parley chat` without a terminal, or with --plain: reads lines, answers one after the other."""

import argparse
import signal
import sys
from collections.abc import Callable

from parley_clients.cli.answers import Given
from parley_clients.cli.commands.ask import deny_unattended, unattended
from parley_clients.cli.commands.show import print_snapshot
from parley_clients.cli.conversation.agents.asking import Asking
from parley_clients.cli.conversation.commands import command_name, run_command
from parley_clients.cli.conversation.context.references import read_references
from parley_clients.cli.conversation.editor import open_file
from parley_clients.cli.conversation.outcomes import Context, Edit, Open, OpenFile, Quit, Retry, Send, Show
from parley_clients.cli.display.output import make_output
from parley_clients.cli.errors import CommandError, UsageError, check_text, describe_parley_error, print_error
from parley_clients.cli.mentions import with_resources
from parley_clients.cli.messages import describe_cut_answer, describe_failed_turn, escape_controls
from parley_clients.cli.options import connect_daemon, short_id
from parley_clients.cli.turns import run_turn
from parley_clients.errors import ChatNotFoundError, ConflictError, ConnectionLostError, ParleyError
from parley_clients.requests import ActionRequest
from parley_clients.results import Json
from parley_clients.sync import Chat, Client, TurnStream

_SHOWN_MESSAGES = 6


def run(
    options: argparse.Namespace,
    open_chat: Callable[[Client, argparse.Namespace], Chat],
    files: list[Json],
) -> int:
    """Read lines and show the answers until the end of input. The first question takes the files along."""
    with connect_daemon(options) as client:
        chat = open_chat(client, options)
        if options.id or options.last:
            print_snapshot(chat.get(limit=_SHOWN_MESSAGES).raw, options)
        _Lines(Context(client, chat, options, files)).run()
    return 0


class _Lines:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._prompts = sys.stdin.isatty()

    def run(self) -> None:
        if self._prompts:
            self._print_note(f"chat {short_id(self._context.chat.id)} · /help, Ctrl-D quits")
        while (line := self._read_line()) is not None:
            try:
                if not self._run_line(line):
                    return
            except ChatNotFoundError:
                raise
            except ParleyError as error:
                print_error(describe_parley_error(error))
                if isinstance(error, ConnectionLostError):
                    self._print_note("Reconnecting. A turn that was running may continue in the daemon.")
            except (CommandError, UsageError, TimeoutError) as error:
                print_error(str(error))
            except KeyboardInterrupt:
                self._print_note("")

    def _read_line(self) -> str | None:
        """Return the next line, or None at the end of input."""
        while True:
            try:
                return check_text(input("> " if self._prompts else ""), "Standard input")
            except KeyboardInterrupt:  # discard the line, like a shell
                sys.stdout.write("\n")
            except EOFError:
                if self._prompts:
                    sys.stdout.write("\n")
                return None

    def _run_line(self, line: str) -> bool:
        """Run a command, or send the line as a question; return whether to continue."""
        context = self._context
        if not line.strip():
            return True
        record = context.chat.record
        if command_name(line, None if record is None else record.raw["model"]) is None:
            named = read_references(line, None if record is None else record.raw)
            parts: list[Json] = [{"type": "text", "text": line.strip()}, *named, *context.attachments]
            content = with_resources(context.client, context.chat.id, parts)
            settings = None if self._prompts else unattended(context.client, {})
            stream = context.chat.stream(content, settings=settings or None)
            context.attachments = []
            self._show(stream)
            return True
        outcome = run_command(line, context)
        match outcome:
            case Show():
                if outcome.text:
                    sys.stdout.write(escape_controls(outcome.text) + "\n")
            case Open():
                context.chat = outcome.chat
                print_snapshot(context.chat.get(limit=_SHOWN_MESSAGES).raw, context.options)
            case OpenFile():
                self._open_file(outcome)
            case Retry():
                self._show(context.chat.stream_retry(model=outcome.model))
            case Edit():
                if outcome.content is None:
                    raise CommandError("/edit needs a text.")
                content = with_resources(context.client, context.chat.id, outcome.content)
                self._show(context.chat.stream_edit(outcome.message_id, content))
            case Send():
                settings = None if self._prompts else unattended(context.client, {})
                self._show(context.chat.stream(outcome.content, settings=settings or None))
            case Quit():
                return False
        return True

    def _open_file(self, file: OpenFile) -> None:
        """Open a file in the editor; without a terminal, print where it is."""
        if file.note is not None:
            self._print_note(file.note)
        if self._prompts and sys.stdout.isatty():
            open_file(file.path, file.line)
        else:
            sys.stdout.write(f"{escape_controls(str(file.path))}:{file.line}\n")

    def _show(self, stream: TurnStream) -> None:
        answer = self._answer if self._prompts else deny_unattended(self._context.chat)
        ended = run_turn(stream, lambda: make_output(self._context.options), answer)
        if ended is not None:
            reason = describe_failed_turn(ended, self._context.chat.id) or describe_cut_answer(ended)
            if reason is not None:
                print_error(reason)

    def _answer(self, request: ActionRequest) -> None:
        """Ask the user, in lines; raise KeyboardInterrupt for Ctrl-C, which interrupts the turn."""
        asking = Asking()
        asking.update([request.raw])
        while asking.active is not None:
            for line in asking.lines():
                sys.stderr.write(f"{line}\n")
            try:
                given = self._read_answer(asking)
            except UsageError as error:
                print_error(str(error))
                continue
            if given is None:
                continue  # to the next of several questions
            asking.note_answered(request.id)
            asking.update([])
            try:
                self._context.chat.respond(
                    request, given.decision, result=given.result, rule=given.rule, reason=given.reason
                )
            except ConflictError as error:
                print_error(error.message)

    def _read_answer(self, asking: Asking) -> Given | None:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            text = check_text(input("? "), "Standard input")
        except EOFError:
            return Given("deny", reason="The input has ended.")
        finally:
            signal.signal(signal.SIGINT, handler)
        if command_name(text, None) == "/deny":
            return Given("deny", reason=text.partition(" ")[2].strip() or None)
        return asking.take(text)

    def _print_note(self, text: str) -> None:
        if self._prompts:
            sys.stderr.write(text + "\n")
