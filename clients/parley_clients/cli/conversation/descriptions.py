"""What the commands of `parley chat` show: lists of chats, branches and queued messages, and usage."""

from datetime import UTC, datetime

from parley_clients.cli.commands.listing import format_age, one_line_title
from parley_clients.cli.messages import message_author, one_line, parts_as_markdown
from parley_clients.cli.options import short_id
from parley_clients.results import BranchPoint, Json

_EXCERPT = 200


def describe_chats(chats: list[Json]) -> str:
    """Return one chat per line: its id, when it was used, its title."""
    now = datetime.now(UTC)
    rows = [
        f"{short_id(chat['id'])}  {format_age(chat['updatedAt'], now):>6}  {one_line_title(chat)}"
        for chat in chats
    ]
    return "\n".join(rows) or "There are no chats."


def describe_branches(points: list[BranchPoint]) -> str:
    """Return one position per line: the ids of its alternatives, the active one marked, and its text."""
    if not points:
        return "This chat has one branch only. /edit and /retry create others."
    rows: list[str] = []
    for point in points:
        ids = " ".join([f"{id}*" if id == point.message_id else str(id) for id in point.siblings])
        rows.append(f"{ids}  {message_author(point.message)}: {excerpt(point.message['content'])}")
    return "\n".join([*rows, "/branch N goes on with the branch of message N."])


def describe_queue(messages: list[Json]) -> str:
    """Return one queued message per line: its position and its text."""
    rows = [f"{number}  {excerpt(message['content'])}" for number, message in enumerate(messages, 1)]
    return "\n".join(rows) or "The queue is empty."


def describe_attachments(parts: list[Json]) -> str:
    """Return the names of files and references."""
    return ", ".join([one_line(part.get("title") or part.get("uri") or part["mediaType"]) for part in parts])


def describe_usage(chat: Json, last_answer: Json | None) -> str:
    """Return the tokens and the cost of a chat, and how full its context is."""
    usage: Json = chat["usage"] or {}
    if usage.get("inputTokens") is None and usage.get("outputTokens") is None:
        return "No usage is known of this chat yet."
    fields = [f"{_count(usage.get('inputTokens'))} input + {_count(usage.get('outputTokens'))} output tokens"]
    if usage.get("reasoningTokens"):
        fields.append(f"{_count(usage['reasoningTokens'])} of them reasoning")
    if usage.get("cacheReadTokens"):
        fields.append(f"{_count(usage['cacheReadTokens'])} from the cache")
    if usage.get("costUsd") is not None:
        fields.append(f"${usage['costUsd']:.4f}")
    lines = [f"This chat: {', '.join(fields)}"]
    last: Json = (last_answer or {}).get("usage") or {}
    used = (last.get("inputTokens") or 0) + (last.get("outputTokens") or 0)
    limit = last.get("contextLimit")
    if used:
        share = f", {100 * used / limit:.0f} % of {_count(limit)}" if limit else ""
        lines.append(f"The context now: {_count(used)} tokens{share}")
    return "\n".join(lines)


def excerpt(content: list[Json]) -> str:
    """Return the beginning of a content on one line."""
    return one_line(parts_as_markdown(content)[:_EXCERPT])


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
