"""`parley chat`: a conversation at a prompt. Ctrl-C interrupts an answer and keeps it, Ctrl-D leaves."""

import argparse
import sys
from importlib import import_module

from parley_clients.cli.commands import slash
from parley_clients.cli.display.sanitize import one_line
from parley_clients.cli.messages import failed
from parley_clients.cli.options import (
    CommandError,
    UsageError,
    check_text,
    client,
    console,
    fancy,
    find_chat,
    last_chat,
    short_id,
    turn_output,
    warn,
)
from parley_clients.cli.turns import run_turn
from parley_clients.errors import ChatNotFoundError, ConnectionLostError, ParleyError
from parley_clients.sync import Chat, TurnStream

HELP = f"""\
/model [PROVIDER:MODEL]  show or choose the model
/title TEXT              give the chat a title
{slash.HELP}/quit                    leave (Ctrl-D)
/help                    this
Ctrl-C stops an answer and keeps what there is of it. Everything else goes to the model.
"""

_PROMPT = "> "
_SHOWN = 6


def chat(options: argparse.Namespace) -> int:
    """Talk until the person leaves."""
    if options.system is not None and (options.id or options.last):
        raise UsageError("--system is for a new chat: leave out the chat's id and --last.")
    with client(options) as daemon:
        if options.id or options.last:
            one = daemon.chat(find_chat(daemon, options.id) if options.id else last_chat(daemon))
            if options.model is not None:
                one.set_model(options.model)
            _show_end(one, options)
        else:
            one = daemon.create_chat(model=options.model, system_prompt=options.system)
        _Repl(one, options).run()
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
            self._remark(f"{model or 'no model'} · chat {short_id(self._chat.id)} · /help, Ctrl-D leaves")
        while (text := self._read()) is not None:
            try:
                if not self._command(text.strip()):
                    return
            except ChatNotFoundError:
                raise
            except (CommandError, ParleyError, TimeoutError) as error:
                warn(str(error))
                if isinstance(error, ConnectionLostError):
                    self._remark("Trying to reach the daemon again; what was under way may go on there.")
            except KeyboardInterrupt:
                self._remark("")

    def _read(self) -> str | None:
        """Return what the person types, None at the end."""
        while True:
            try:
                return check_text(input(self._prompt() if self._prompts else ""), "Standard input")
            except KeyboardInterrupt:  # throws away the line, like a shell
                sys.stdout.write("\n")
            except EOFError:
                if self._prompts:
                    sys.stdout.write("\n")
                return None

    def _prompt(self) -> str:
        if not fancy(self._options) or self._options.no_color:
            return _PROMPT
        return f"\n\001\033[1;36m\002{_PROMPT}\001\033[0m\002"  # \001 and \002: these take no room

    def _command(self, text: str) -> bool:
        """Do what the line says; False: leave."""
        word, _, rest = text.partition(" ")
        rest = rest.strip()
        match word:
            case "":
                pass
            case "/quit" | "/exit":
                return False
            case "/help":
                sys.stdout.write(HELP)
            case "/title" if rest:
                self._chat.update(title=rest)
            case "/title":
                warn("/title needs a text.")
            case "/model":
                record = self._chat.set_model(rest) if rest else None
                model = record.raw["model"] if record else self._chat.get(limit=1).raw["chat"]["model"]
                self._remark(str(model or "no model"))
            case _ if word in slash.COMMANDS:
                stream = slash.slash(word, rest, self._chat, self._options)
                if stream is not None:
                    self._show(stream)
            case _:
                self._show(self._chat.stream(text))
        return True

    def _show(self, stream: TurnStream) -> None:
        ended = run_turn(stream, lambda: turn_output(self._options))
        problem = None if ended is None else failed(ended, self._chat.id)
        if problem is not None:
            warn(problem)

    def _remark(self, text: str) -> None:
        text = one_line(text)
        if fancy(self._options):
            from rich.text import Text

            console(self._options).print(Text(text, style="dim"))
        elif self._prompts:
            sys.stderr.write(text + "\n")


def _show_end(chat: Chat, options: argparse.Namespace) -> None:
    """Show the last messages of a chat that is gone on with."""
    from parley_clients.cli.commands.show import print_conversation

    print_conversation(chat.get(limit=_SHOWN).raw, options)


def _load_line_editing() -> None:
    try:
        import_module("readline")  # gives input() its line editing and history
    except ImportError:
        pass  # not on every platform
