"""What a client needs for chats that act: tools that are Python functions, and permissions."""
