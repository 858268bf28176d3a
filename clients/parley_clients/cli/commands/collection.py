"""`parley fork`, `archive`, `unarchive`, `export`, `import` and `compact`: chats as a whole."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from parley_clients.cli.commands.branches import report
from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import clean
from parley_clients.cli.messages import readable
from parley_clients.cli.options import CommandError, client, fancy, find_chat, short_id, warn
from parley_clients.errors import ConnectionLostError, InvalidParamsError, ParleyError
from parley_clients.results import ChatRecord
from parley_clients.sync import Chat


def fork(options: argparse.Namespace) -> int:
    """Copy a chat and print the new one's id."""
    with client(options) as daemon:
        _print_new(options, daemon.chat(find_chat(daemon, options.id)).fork(options.message))
    return 0


def import_chat(options: argparse.Namespace) -> int:
    """Make a chat of a file and print its id."""
    content = _read(options.file)
    try:
        with client(options) as daemon:
            _print_new(options, daemon.import_chat(content, merge=options.merge))
    except InvalidParamsError as error:
        name = "Standard input" if options.file == "-" else options.file
        raise CommandError(f"{name} {error.data['fields'][0]['problem'].rstrip('.')}.") from None
    return 0


def _print_new(options: argparse.Namespace, chat: Chat) -> None:
    if options.json:
        assert chat.record is not None  # it was just made
        write_json(chat.record.raw)
    else:
        sys.stdout.write(f"{short_id(chat.id)}\n")


def archive(options: argparse.Namespace) -> int:
    """Put chats away."""
    return _each(options, Chat.archive, "was put away")


def unarchive(options: argparse.Namespace) -> int:
    """Bring chats back."""
    return _each(options, Chat.unarchive, "is back")


def _each(options: argparse.Namespace, change: Callable[[Chat], ChatRecord], said: str) -> int:
    """Change chats one by one; what cannot be changed is told, the others are."""
    code = 0
    with client(options) as daemon:
        for chat in [daemon.chat(find_chat(daemon, words)) for words in options.ids]:
            try:
                report(options, change(chat), f"{short_id(chat.id)} {said}.")
            except ConnectionLostError:
                raise
            except ParleyError as error:
                warn(f"{short_id(chat.id)}: {error.message}")
                code = 1
    return code


def export(options: argparse.Namespace) -> int:
    """Write a chat to a file or to standard output."""
    named_json = options.output is not None and options.output.lower().endswith(".json")
    as_json = options.format == "json" or (options.format is None and named_json)
    with client(options) as daemon:
        content = daemon.chat(find_chat(daemon, options.id)).export("json" if as_json else "markdown")
    if options.output is not None:
        try:
            Path(options.output).write_bytes(content.encode())
        except OSError as error:
            raise CommandError(f"Cannot write {options.output}: {error.strerror or error}.") from None
    elif sys.stdout.isatty():
        sys.stdout.write(clean(content).rstrip("\n") + "\n")
    else:
        sys.stdout.write(content)
    return 0


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{name} is not an exported chat: it is not UTF-8.") from None


def compact(options: argparse.Namespace) -> int:
    """Let the model summarise, and print what it made of the chat."""
    with client(options) as daemon:
        message = daemon.chat(find_chat(daemon, options.id)).compact().raw
    if options.json:
        write_json(message)
        return 0
    if fancy(options):
        sys.stdout.write("Later requests begin with this summary; what is shown stays whole.\n\n")
    sys.stdout.write(readable(message["content"]) + "\n")
    return 0
