"""Agent chats in `parley chat`: answers to what a turn asks for, and commands."""
