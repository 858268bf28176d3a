"""What answers are based on: the sources of messages, and searching the context of chats."""
