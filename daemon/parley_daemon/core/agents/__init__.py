"""The rules of agent chats, without I/O: tools and their calls, permissions, questions to people."""
