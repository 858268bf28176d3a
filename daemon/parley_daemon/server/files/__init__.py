"""Chats and references as files."""
