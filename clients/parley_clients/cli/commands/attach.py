"""`parley attach`: follows a chat live, regardless of who asks there."""

import argparse

from parley_clients.cli.display.output import make_output
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.display.replay import SnapshotReplay
from parley_clients.cli.errors import EXIT_FAILURE, print_error
from parley_clients.cli.options import connect_daemon, find_chat, find_last_chat
from parley_clients.cli.turns import TICK_SECONDS, count_interrupts


def attach(options: argparse.Namespace) -> int:
    """Show the end of a chat and then its events, until Ctrl-C or until the chat is deleted."""
    with connect_daemon(options) as client:
        chat_id = find_chat(client, options.id) if options.id else find_last_chat(client)
        with count_interrupts() as interrupts, client.chat(chat_id).attach(tail=options.tail) as view:
            output, replay = make_output(options, whole_chat=True), SnapshotReplay()
            if options.json:
                print_json(view.subscribed)
            try:
                output.begin()
                if not options.json:
                    output.show(replay.snapshot_events(view.subscribed["snapshot"]))
                while not interrupts.count:
                    try:
                        events = view.batch(TICK_SECONDS)
                    except TimeoutError:
                        output.tick()
                        continue
                    if not events:
                        break
                    output.show(events if options.json else replay.expand_resets(events))
            finally:
                output.end(None)
            if not interrupts.count:
                print_error("The chat was deleted.")
                return EXIT_FAILURE
    return 0
