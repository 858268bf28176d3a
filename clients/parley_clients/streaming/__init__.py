"""Streams of events: one turn, one chat, all chats."""
