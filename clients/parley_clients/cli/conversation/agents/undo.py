"""The command of `parley chat` that takes changes of files back."""

from collections.abc import Sequence

from parley_clients.cli.conversation.agents.words import split_words
from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import short_path, visible_line
from parley_clients.results import Json

_STATES = {"as_left": "", "changed_since": "changed since", "gone": "deleted since"}


def undo(context: Context, argument: str) -> Outcome:
    """List the checkpoints, show what undoing one would do, or undo it."""
    checkpoints = _checkpoints(context)
    words = split_words(argument)
    if not words or not checkpoints:
        return Show(_describe_checkpoints(checkpoints))
    if not words[0].isdecimal() or not 1 <= int(words[0]) <= len(checkpoints):
        raise UsageError("Use /undo, /undo N, /undo N yes [FILE…] or /undo N force FILE…")
    checkpoint = checkpoints[int(words[0]) - 1]
    goes, names = words[1:2] in (["yes"], ["force"]), words[2:]
    params: Json = {
        "chatId": context.chat.id,
        "checkpointId": checkpoint["id"],
        "dryRun": not goes,
        "force": words[1:2] == ["force"],
    }
    if not goes:
        names = words[1:]
    if names:
        params["paths"] = _find_paths(checkpoint, names)
    elif params["force"]:
        raise UsageError("/undo N force needs the files, because it overwrites what was changed since.")
    raw = context.client.call("chat/restore", params).raw
    return Show(_describe_restore(raw, words[0], done=goes))


def _checkpoints(context: Context) -> list[Json]:
    """Return the checkpoints of the chat, newest first."""
    return [one.raw for one in context.chat.checkpoints()]


def _describe_checkpoints(checkpoints: Sequence[Json]) -> str:
    rows: list[str] = []
    for number, checkpoint in enumerate(checkpoints, 1):
        when = checkpoint["at"][:16].replace("T", " ")
        rows.append(f"{number}  {when} UTC{'  (an undo)' if checkpoint['undoes'] else ''}")
        for file in checkpoint["files"]:
            state = _STATES.get(file["state"], one_line(file["state"]))
            lost = "" if file["restorable"] else "not kept"
            notes = ", ".join([note for note in (state, lost) if note])
            kind = one_line(file["changeType"])
            rows.append(f"   {kind:<8}  {short_path(file['path'])}" + (f"  ({notes})" if notes else ""))
    return "\n".join(
        [*rows, "/undo N shows what undoing N would do."] if rows else ["Nothing was changed here."]
    )


def _find_paths(checkpoint: Json, names: Sequence[str]) -> list[str]:
    """Return the paths of a checkpoint's files that are named by their ends."""
    paths = [file["path"] for file in checkpoint["files"]]
    found: list[str] = []
    for name in names:
        fitting = [path for path in paths if short_path(path) == name or path.endswith(f"/{name}")]
        if len(fitting) != 1:
            raise CommandError(f"{len(fitting) or 'No'} files of this change are named {one_line(name)}.")
        found += fitting
    return found


def _describe_restore(raw: Json, number: str, *, done: bool) -> str:
    verb = "restored" if done else "would restore"
    lines = [f"{verb}  {short_path(one['path'])}  ({one['changeType']})" for one in raw["restored"]]
    verb = "left alone" if done else "would leave alone"
    lines += [
        f"{verb}  {short_path(one['path'])}  ({visible_line(one['message'])})" for one in raw["conflicts"]
    ]
    if not lines:
        return "There is nothing to restore."
    if done and raw["restored"]:
        lines.append("/undo lists this, too: it can be undone.")
    elif not done and raw["restored"]:
        lines.append(f"/undo {number} yes does it.")
    if raw["conflicts"]:
        lines.append(f"/undo {number} force FILE… overwrites what was changed since.")
    return "\n".join(lines)
