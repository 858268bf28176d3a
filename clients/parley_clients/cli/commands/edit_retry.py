"""`parley edit` and `retry`: replaces a question, or gets another answer to one."""

import argparse

from parley_clients.cli.commands.ask import read_schema, read_settings, show_turn, unattended
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.inputs import UnreadInput, read_content
from parley_clients.cli.mentions import with_resources
from parley_clients.cli.options import chat_and_rest, connect_daemon, find_chat, find_last_chat
from parley_clients.results import Json
from parley_clients.sync import Chat

_PAGE_SIZE = 200


def edit(options: argparse.Namespace) -> int:
    """Replace a question and show the answer; return the exit code of `parley ask`."""
    id, words = chat_and_rest(options, options.text)
    unread = UnreadInput(words, options.files)
    unread.report()
    content = read_content(words, options.files)
    with connect_daemon(options) as client:
        chat = client.chat(find_last_chat(client) if id is None else find_chat(client, id))
        message_id = find_last_question(chat)["id"] if options.message is None else options.message
        content = with_resources(client, chat.id, content)
        code = show_turn(options, chat, lambda: chat.stream_edit(message_id, content, model=options.model))
    unread.report()
    return code


def retry(options: argparse.Namespace) -> int:
    """Show another answer to a question; return the exit code of `parley ask`."""
    id, words = chat_and_rest(options, [] if options.message is None else [options.message])
    if len(words) > 1 or not all(word.isdecimal() for word in words):
        raise UsageError(
            f"Give the number of one message, as parley show --ids prints it, not {' '.join(words)}."
        )
    message = int(words[0]) if words else None
    settings = {**read_settings(options), **read_schema(options)}
    with connect_daemon(options) as client:
        settings = unattended(client, settings) or None
        chat = client.chat(find_last_chat(client) if id is None else find_chat(client, id))
        return show_turn(
            options, chat, lambda: chat.stream_retry(message, model=options.model, settings=settings)
        )


def find_last_question(chat: Chat) -> Json:
    """Return the last user message of the active branch.

    Raises:
        CommandError: there is no user message.
    """
    page = chat.get(limit=_PAGE_SIZE)
    while True:
        for message in reversed(page.messages):
            if message["role"] == "user":
                return message
        if not page.has_more:
            raise CommandError("There is no question in this chat yet.")
        page = chat.get(limit=_PAGE_SIZE, before_message_id=page.messages[0]["id"])
