"""How turns, Markdown and messages are shown."""
