"""The lines around the typed message: what waits, and the status of the conversation."""

from collections.abc import Sequence

from parley_clients.cli.conversation.descriptions import describe_attachments, excerpt
from parley_clients.cli.messages import one_line
from parley_clients.cli.options import short_id
from parley_clients.results import Json


def waiting_lines(
    unsent: Sequence[str], queue: Sequence[Json], attachments: list[Json], limit: int
) -> list[str]:
    """Return what waits: unsent and queued messages in at most `limit` lines, and the attached files."""
    lines = [f"not sent yet: {one_line(text)}" for text in unsent]
    lines += [f"queued {number}: {excerpt(one['content'])}" for number, one in enumerate(queue, 1)]
    if len(lines) > limit:
        lines = [*lines[: limit - 1], f"({len(lines) - limit} more) {lines[limit - 1]}"]
    if attachments:
        lines.append(f"attached: {describe_attachments(attachments)}")
    return lines


def status_line(chat: Json | None, lost_seconds: float | None, leaves_next: bool, editing: int | None) -> str:
    """Return what matters most now: a lost connection, what Ctrl-C does, an edit, or else the chat.

    `lost_seconds` is how long there has been no connection, `editing` the message that is being edited.
    """
    if lost_seconds is not None:
        return f"reconnecting to the daemon · {int(lost_seconds)} s · Ctrl-D leaves"
    if leaves_next:
        return "Ctrl-C again, or Ctrl-D, leaves"
    if editing is not None:
        return f"editing message {editing} · Enter sends, Ctrl-C cancels"
    if chat is None:
        return ""
    fields = [chat["model"] or "no model", short_id(chat["id"]), chat["title"] or "new chat"]
    return one_line(" · ".join(fields))
