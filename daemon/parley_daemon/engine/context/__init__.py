"""What chats do with the index of their context: searching it, and sources in their messages."""
