"""Titles of chats: from the first message, or tidied up from what a model proposes. Knows no model."""

WORDS = 6
CHARACTERS = 80


def first_title(text: str) -> str | None:
    """Return the first words of a message as a title, None when it has none."""
    words = text.split(maxsplit=WORDS)
    title = " ".join(words[:WORDS])
    shortened = len(words) > WORDS
    if len(title) + shortened > CHARACTERS:
        title, shortened = title[: CHARACTERS - 1].rstrip(), True
    return f"{title}…" if shortened and title else title or None


def tidied(text: str) -> str | None:
    """Return a model's proposal as a title: one line without decoration, None when nothing is left."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = " ".join(line.strip("#*_\"'`“”«»„ ").removeprefix("Title:").split()).rstrip(".")
    line = line.strip("*_\"'`“”«»„ ")
    if len(line) > CHARACTERS:
        line = line[: CHARACTERS - 1].rstrip() + "…"
    return line or None
