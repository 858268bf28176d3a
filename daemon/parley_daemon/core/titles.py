"""Titles of chats: from a first message, a fork's source, or a model's proposal. Knows no model."""

WORDS = 6
CHARACTERS = 80
LONGEST = 255
"""Characters that any title may have."""


def first_title(text: str) -> str | None:
    """Return the first words of a message as a title, None when it has none."""
    words = text.split(maxsplit=WORDS)
    title = " ".join(words[:WORDS])
    shortened = len(words) > WORDS
    if len(title) + shortened > CHARACTERS:
        title, shortened = title[: CHARACTERS - 1].rstrip(), True
    return f"{title}…" if shortened and title else title or None


def clean_title(text: str) -> str | None:
    """Return a model's proposal as a title: one line without decoration, None when nothing is left."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = " ".join(line.strip("#*_\"'`“”«»„ ").removeprefix("Title:").split()).rstrip(".")
    line = line.strip("*_\"'`“”«»„ ")
    if len(line) > CHARACTERS:
        line = line[: CHARACTERS - 1].rstrip() + "…"
    return line or None


def fork_title(title: str) -> str:
    """Return the title of a fork: "Plan" becomes "Plan (fork)", that one "Plan (fork 2)", then "(fork 3)"."""
    base, mark, rest = title.rpartition(" (fork")
    count = rest[1:-1]
    if mark and rest == ")":
        suffix = " (fork 2)"
    elif mark and rest == f" {count})" and count.isascii() and count.isdecimal():
        suffix = f" (fork {int(count) + 1})"
    else:
        base, suffix = title, " (fork)"
    if len(base) + len(suffix) > LONGEST:
        base = f"{base[: LONGEST - len(suffix) - 1].rstrip()}…"
    return f"{base}{suffix}"
