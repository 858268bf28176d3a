"""Whole chats: `parley fork`, `archive`, `pin` and their reverse, `delete`, `export`, `import`, `compact`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from parley_clients.cli.commands.branches import print_change
from parley_clients.cli.commands.listing import one_line_title
from parley_clients.cli.display.output import can_draw
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, CommandError, print_error
from parley_clients.cli.messages import escape_controls, parts_as_markdown
from parley_clients.cli.options import connect_daemon, find_chat, short_id
from parley_clients.errors import ConnectionLostError, InvalidParamsError, ParleyError
from parley_clients.results import ChatRecord
from parley_clients.sync import Chat


def fork(options: argparse.Namespace) -> int:
    """Copy a chat and print the id of the new one."""
    with connect_daemon(options) as client:
        _print_new_chat(options, client.chat(find_chat(client, options.id)).fork(options.message))
    return 0


def import_chat(options: argparse.Namespace) -> int:
    """Create a chat from a file and print its id."""
    content = _read_file(options.file)
    try:
        with connect_daemon(options) as client:
            _print_new_chat(options, client.import_chat(content, merge=options.merge))
    except InvalidParamsError as error:
        name = "Standard input" if options.file == "-" else options.file
        raise CommandError(f"{name} {error.data['fields'][0]['problem'].rstrip('.')}.") from None
    return 0


def _print_new_chat(options: argparse.Namespace, chat: Chat) -> None:
    if options.json:
        assert chat.record is not None  # set by the call that created the chat
        print_json(chat.record.raw)
    else:
        sys.stdout.write(f"{short_id(chat.id)}\n")


def archive(options: argparse.Namespace) -> int:
    """Archive chats."""
    return _change_each(options, Chat.archive, "archived")


def unarchive(options: argparse.Namespace) -> int:
    """Unarchive chats."""
    return _change_each(options, Chat.unarchive, "unarchived")


def pin(options: argparse.Namespace) -> int:
    """Pin chats."""
    return _change_each(options, Chat.pin, "pinned")


def unpin(options: argparse.Namespace) -> int:
    """Unpin chats."""
    return _change_each(options, Chat.unpin, "unpinned")


def _change_each(options: argparse.Namespace, change: Callable[[Chat], ChatRecord], done: str) -> int:
    """Change chats one by one; an error with one chat does not stop the others."""
    code = 0
    with connect_daemon(options) as client:
        for chat in [client.chat(find_chat(client, part)) for part in options.ids]:
            try:
                print_change(options, change(chat), f"{short_id(chat.id)} was {done}.")
            except ConnectionLostError:
                raise
            except ParleyError as error:
                print_error(f"{short_id(chat.id)}: {error.message}")
                code = EXIT_FAILURE
    return code


def delete(options: argparse.Namespace) -> int:
    """Delete chats, after a confirmation if standard input is a terminal."""
    with connect_daemon(options) as client:
        chats = [client.chat(find_chat(client, part)) for part in options.ids]
        if not options.yes and sys.stdin.isatty():
            for chat in chats:
                print_error(f"{short_id(chat.id)}  {one_line_title(chat.get(limit=1).raw['chat'])}")
            sys.stderr.write(f"Delete {'it' if len(chats) == 1 else 'them'} permanently? [y/N] ")
            sys.stderr.flush()
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                return EXIT_FAILURE
        result = client.delete_chats([chat.id for chat in chats]).raw
    for error in result["errors"]:
        print_error(f"{short_id(error['chatId'])}: {error['message']}")
    return EXIT_FAILURE if result["errors"] else 0


def export(options: argparse.Namespace) -> int:
    """Write a chat to a file or to standard output."""
    named_json = options.output is not None and options.output.lower().endswith(".json")
    as_json = options.format == "json" or (options.format is None and named_json)
    with connect_daemon(options) as client:
        content = client.chat(find_chat(client, options.id)).export("json" if as_json else "markdown")
    if options.output is not None:
        try:
            Path(options.output).write_bytes(content.encode())
        except OSError as error:
            raise CommandError(f"Cannot write {options.output}: {error.strerror or error}.") from None
    elif sys.stdout.isatty():
        sys.stdout.write(escape_controls(content).rstrip("\n") + "\n")
    else:
        sys.stdout.write(content)
    return 0


def _read_file(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return data.decode()
    except OSError as error:
        raise CommandError(f"Cannot read {name}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{name} is not an exported chat: it is not UTF-8.") from None


def compact(options: argparse.Namespace) -> int:
    """Let the model summarise a chat, and print the summary."""
    with connect_daemon(options) as client:
        message = client.chat(find_chat(client, options.id)).compact().raw
    if options.json:
        print_json(message)
        return 0
    if can_draw(options):
        sys.stdout.write("Later model calls begin with this summary. The messages are kept.\n\n")
    sys.stdout.write(parts_as_markdown(message["content"]) + "\n")
    return 0
