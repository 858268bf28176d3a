"""The rules of chats, as records and pure functions: states, events, the fold of parts. Does no I/O."""
