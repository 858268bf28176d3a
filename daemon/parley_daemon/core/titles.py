"""Titles of chats: from a first message, a fork's source, or a model's proposal."""

MAX_WORDS = 6
"""Words of a first message that become a title."""

SHORT_LENGTH = 80
"""Characters of a title that is not set by a person."""

MAX_LENGTH = 255
"""Characters of any title."""


def first_title(text: str) -> str | None:
    """Return the first words of a message as a title; None: it has no words."""
    words = text.split(maxsplit=MAX_WORDS)
    title = " ".join(words[:MAX_WORDS])
    shortened = len(words) > MAX_WORDS
    if len(title) + shortened > SHORT_LENGTH:
        title, shortened = title[: SHORT_LENGTH - 1].rstrip(), True
    return f"{title}…" if shortened and title else title or None


def clean_title(text: str) -> str | None:
    """Return a model's proposal as a title: its first line, without Markdown and quotes.

    None: it is empty.
    """
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = " ".join(line.strip("#*_\"'`“”«»„ ").removeprefix("Title:").split()).rstrip(".")
    line = line.strip("*_\"'`“”«»„ ")
    if len(line) > SHORT_LENGTH:
        line = line[: SHORT_LENGTH - 1].rstrip() + "…"
    return line or None


def fork_title(title: str) -> str:
    """Return the title of a fork: "Plan" → "Plan (fork)" → "Plan (fork 2)" → "Plan (fork 3)"."""
    base, mark, rest = title.rpartition(" (fork")
    count = rest[1:-1]
    if mark and rest == ")":
        suffix = " (fork 2)"
    elif mark and rest == f" {count})" and count.isascii() and count.isdecimal():
        suffix = f" (fork {int(count) + 1})"
    else:
        base, suffix = title, " (fork)"
    if len(base) + len(suffix) > MAX_LENGTH:
        base = f"{base[: MAX_LENGTH - len(suffix) - 1].rstrip()}…"
    return f"{base}{suffix}"
