"""Output of turns and chats: drawn on a terminal, as plain text, or as JSON."""
