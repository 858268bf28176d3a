"""`parley checkpoints` and `undo`: what tools changed in files, and taking it back."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from parley_clients.cli.display.output import can_draw
from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, CommandError, UsageError
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import connect_daemon, find_chat, find_id, find_last_chat, short_id
from parley_clients.cli.steps import short_path
from parley_clients.results import Checkpoint, Json, Restored

_POSITION_DIGITS = 3

_STATES = {"as_left": "", "changed_since": "changed since", "gone": "gone"}


def checkpoints(options: argparse.Namespace) -> int:
    """Print the checkpoints of a chat, the newest first."""
    with connect_daemon(options) as client:
        chat_id = find_chat(client, options.id) if options.id else find_last_chat(client)
        found = client.chat(chat_id).checkpoints()
    if options.json:
        for one in found:
            print_json(one.raw)
        return 0
    if not found and can_draw(options):
        sys.stdout.write("No tool has changed a file in this chat.\n")
    for position, one in enumerate(found, 1):
        kind = "restore" if one.turn_id is None else "turn"
        sys.stdout.write(f"{position}\t{short_id(one.id)}\t{one.raw['at'][:16].replace('T', ' ')}\t{kind}\n")
        for file in one.files:
            sys.stdout.write(f"\t{_describe_file(file)}\n")
    return 0


def undo(options: argparse.Namespace) -> int:
    """Take back what a turn changed in files. The result is 1 if some files were left alone."""
    if options.force and not options.file:
        raise UsageError("--force overwrites what has changed since. Name the files with -f.")
    paths = [file_uri(name) for name in options.file] or None
    with connect_daemon(options) as client:
        chat = client.chat(find_chat(client, options.id) if options.id else find_last_chat(client))
        checkpoint_id = find_checkpoint(chat.checkpoints(), options.checkpoint)
        result = chat.restore(checkpoint_id, paths=paths, dry_run=options.dry_run, force=options.force)
    if options.json:
        print_json(result.raw)
    else:
        _print_result(options, result)
    return EXIT_FAILURE if result.conflicts else 0


def find_checkpoint(found: Sequence[Checkpoint], word: str | None) -> str:
    """Return the id of the checkpoint that a word names: by its position in the list, or a part of its id.

    None: the newest turn whose changes can be taken back, so that repeating the command goes further back.

    Raises:
        CommandError: there is no such checkpoint.
    """
    if not found:
        raise CommandError("No tool has changed a file in this chat.")
    if word is None:
        for one in found:
            if one.turn_id is not None and one.can_be_undone:
                return one.id
        raise CommandError("Every change was taken back already, or changed since. See parley checkpoints.")
    if word.isdecimal() and len(word) <= _POSITION_DIGITS:
        if not 1 <= int(word) <= len(found):
            raise CommandError(f"There is no checkpoint {word}: parley checkpoints lists {len(found)}.")
        return found[int(word) - 1].id
    return find_id(word, [one.id for one in found], "checkpoint", "parley checkpoints")


def file_uri(name: str) -> str:
    """Return the URI of a file, with the links above it resolved, but not the file itself if it is one."""
    folder, last = os.path.split(os.path.abspath(name))
    return Path(os.path.realpath(folder), last).as_uri()


def _describe_file(file: Json) -> str:
    notes = [_STATES.get(file["state"], one_line(file["state"])), "" if file["restorable"] else "not kept"]
    said = ", ".join([note for note in notes if note])
    return f"{one_line(file['changeType'])}\t{short_path(file['path'])}" + (f"\t({said})" if said else "")


def _print_result(options: argparse.Namespace, result: Restored) -> None:
    done, left = ("would restore", "would leave") if options.dry_run else ("restored", "left alone")
    for file in result.restored:
        deleted = " (deleted)" if file["changeType"] == "deleted" else ""
        sys.stdout.write(f"{done}\t{short_path(file['path'])}{deleted}\n")
    for file in result.conflicts:
        sys.stdout.write(f"{left}\t{short_path(file['path'])}\t{one_line(file['message'])}\n")
    if not (result.restored or result.conflicts):
        sys.stdout.write("Nothing to restore: the files are as they were before.\n")
    elif result.checkpoint_id is not None and sys.stdout.isatty():
        sys.stdout.write(f"To take this back: parley undo CHAT {short_id(result.checkpoint_id)}\n")
