"""`parley chat`: a conversation at a prompt. Ctrl-C interrupts an answer, Ctrl-D quits."""

import argparse
import sys
from importlib import import_module

from parley_clients.cli.commands import slash
from parley_clients.cli.commands.ask import read_settings
from parley_clients.cli.commands.show import print_snapshot
from parley_clients.cli.display.output import can_draw, make_console, make_output
from parley_clients.cli.errors import CommandError, UsageError, check_text, print_error
from parley_clients.cli.messages import describe_failed_turn, one_line
from parley_clients.cli.options import connect_daemon, find_chat, find_last_chat, short_id
from parley_clients.cli.turns import run_turn
from parley_clients.errors import ChatNotFoundError, ConnectionLostError, ParleyError
from parley_clients.sync import Chat, TurnStream

HELP = f"""\
/model [PROVIDER:MODEL]  show or set the model
/title TEXT              set the title of the chat
{slash.HELP}/quit                    quit (Ctrl-D)
/help                    show this help
Ctrl-C interrupts an answer and keeps the partial answer. Any other line is sent to the model.
"""

_PROMPT = "> "
_SHOWN_MESSAGES = 6


def chat(options: argparse.Namespace) -> int:
    """Read questions and show answers until the end of input."""
    if options.system is not None and (options.id or options.last):
        raise UsageError("--system is for a new chat. It cannot be combined with an id or --last.")
    with connect_daemon(options) as client:
        if options.id or options.last:
            chat = client.chat(find_chat(client, options.id) if options.id else find_last_chat(client))
            if options.model is not None:
                chat.set_model(options.model)
            print_snapshot(chat.get(limit=_SHOWN_MESSAGES).raw, options)
        else:
            chat = client.create_chat(
                model=options.model, system_prompt=options.system, settings=read_settings(options) or None
            )
        _Repl(chat, options).run()
    return 0


class _Repl:
    def __init__(self, chat: Chat, options: argparse.Namespace) -> None:
        self._chat = chat
        self._options = options
        self._prompts = sys.stdin.isatty()

    def run(self) -> None:
        if self._prompts:
            _load_line_editing()
            model = self._chat.record.raw["model"] if self._chat.record is not None else None
            self._print_note(f"{model or 'no model'} · chat {short_id(self._chat.id)} · /help, Ctrl-D quits")
        while (text := self._read_line()) is not None:
            try:
                if not self._run_line(text.strip()):
                    return
            except ChatNotFoundError:
                raise
            except (CommandError, ParleyError, TimeoutError) as error:
                print_error(str(error))
                if isinstance(error, ConnectionLostError):
                    self._print_note("Reconnecting. A turn that was running may continue in the daemon.")
            except KeyboardInterrupt:
                self._print_note("")

    def _read_line(self) -> str | None:
        """Return the next line, or None at the end of input."""
        while True:
            try:
                return check_text(input(self._prompt() if self._prompts else ""), "Standard input")
            except KeyboardInterrupt:  # discard the line, like a shell
                sys.stdout.write("\n")
            except EOFError:
                if self._prompts:
                    sys.stdout.write("\n")
                return None

    def _prompt(self) -> str:
        if not can_draw(self._options) or self._options.no_color:
            return _PROMPT
        return (
            f"\n\001\033[1;36m\002{_PROMPT}\001\033[0m\002"  # \001 and \002 enclose characters without width
        )

    def _run_line(self, text: str) -> bool:
        """Run a command, or send the line as a question; return whether to continue."""
        word, _, argument = text.partition(" ")
        argument = argument.strip()
        match word:
            case "":
                pass
            case "/quit" | "/exit":
                return False
            case "/help":
                sys.stdout.write(HELP)
            case "/title" if argument:
                self._chat.update(title=argument)
            case "/title":
                print_error("/title needs a text.")
            case "/model":
                record = self._chat.set_model(argument) if argument else None
                model = record.raw["model"] if record else self._chat.get(limit=1).raw["chat"]["model"]
                self._print_note(str(model or "no model"))
            case _ if word in slash.COMMANDS:
                stream = slash.run_slash_command(word, argument, self._chat, self._options)
                if stream is not None:
                    self._show(stream)
            case _:
                self._show(self._chat.stream(text))
        return True

    def _show(self, stream: TurnStream) -> None:
        ended = run_turn(stream, lambda: make_output(self._options))
        reason = None if ended is None else describe_failed_turn(ended, self._chat.id)
        if reason is not None:
            print_error(reason)

    def _print_note(self, text: str) -> None:
        text = one_line(text)
        if can_draw(self._options):
            from rich.text import Text

            make_console(self._options).print(Text(text, style="dim"))
        elif self._prompts:
            sys.stderr.write(text + "\n")


def _load_line_editing() -> None:
    try:
        import_module("readline")  # adds line editing and history to input()
    except ImportError:
        pass  # not available on every platform
