"""The driver of live chats: actors, turns, subscriptions. Does no network I/O and no SQL itself."""
