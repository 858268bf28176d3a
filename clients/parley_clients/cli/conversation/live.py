"""`parley chat` on a terminal: connects, and shows the conversation until the user leaves."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

import anyio
from anyio.from_thread import BlockingPortal

from parley_clients import sync
from parley_clients.blocking import Runner
from parley_clients.cli.conversation.outcomes import Context
from parley_clients.cli.conversation.session import Conversation, in_thread
from parley_clients.cli.messages import CLIENT_NAME
from parley_clients.cli.options import daemon_address
from parley_clients.client import connect
from parley_clients.connection.session import Reconnect
from parley_clients.results import Json

OpenChat = Callable[[sync.Client, argparse.Namespace], sync.Chat]

_RECONNECT = Reconnect(max_attempts=sys.maxsize)


def run(options: argparse.Namespace, open_chat: OpenChat, files: list[Json]) -> int:
    """Show the conversation until the user leaves; return the exit code. The first message takes the files.

    Raises:
        ParleyError: there is no daemon, or the connection is lost for good.
        CommandError: the options name no chat.
    """
    number = anyio.run(partial(_run, options, open_chat, files))
    if number is not None:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 0


async def _run(options: argparse.Namespace, open_chat: OpenChat, files: list[Json]) -> int | None:
    """Return the number of the signal that ended the conversation, or None."""
    address, token = daemon_address(options)
    data_dir = options.data_dir
    async with connect(
        address, token=token, client_name=CLIENT_NAME, data_dir=data_dir, reconnect=_RECONNECT
    ) as client:
        portal = BlockingPortal()
        async with portal:
            try:
                blocking = sync.Client(Runner(portal), client)
                chat = await in_thread(partial(open_chat, blocking, options))
                return await Conversation(client, Context(blocking, chat, options, files)).run()
            finally:
                await portal.stop(cancel_remaining=True)
