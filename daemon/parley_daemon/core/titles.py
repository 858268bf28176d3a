"""The title that a chat gets from its first message. Knows no model."""

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
