"""`parley chat`: chooses the chat and how to talk in it: at a prompt, or line by line without a terminal."""

import argparse
import sys

from parley_clients.cli.attachments import read_files
from parley_clients.cli.commands.ask import new_chat_fields
from parley_clients.cli.conversation.agents.commands import set_mode
from parley_clients.cli.display.output import can_draw
from parley_clients.cli.errors import UsageError
from parley_clients.cli.options import find_chat, find_last_chat, present_folder
from parley_clients.sync import Chat, Client


def chat(options: argparse.Namespace) -> int:
    """Read questions and show answers until the end of input."""
    if options.id and options.last:
        raise UsageError("Give the id of a chat or --last, not both.")
    if (options.system is not None or options.settings) and (options.id or options.last):
        raise UsageError("--system and -o are for a new chat. They cannot be combined with an id or --last.")
    files = read_files(options.files, _no_input)
    if sys.stdin.isatty() and can_draw(options):
        from parley_clients.cli.conversation.live import run
    else:
        from parley_clients.cli.conversation.plain import run
    return run(options, open_chat, files)


def _no_input() -> bytes:
    raise UsageError("Standard input is the conversation. It cannot be sent as a file.")


def open_chat(client: Client, options: argparse.Namespace) -> Chat:
    """Return the chat that the options name, or a new one.

    Raises:
        CommandError: there is no such chat.
        ParleyError: the request failed, such as for an unknown model.
    """
    if not options.id and not options.last:
        return client.create_chat(
            model=options.model, system_prompt=options.system, **new_chat_fields(options)
        )
    chat = client.chat(find_chat(client, options.id) if options.id else find_last_chat(client))
    if options.model is not None:
        chat.set_model(options.model)
    else:
        chat.get(limit=1)  # fails if there is no such chat
    if options.agent is not None:
        set_mode(chat, options.agent)
        if not chat.get(limit=1).raw["chat"]["context"].get("repositories"):
            chat.set_context(repositories=[present_folder()])
    return chat
