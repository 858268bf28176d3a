"""Live chats: one actor each, its events, and the registry that keeps them in memory."""
