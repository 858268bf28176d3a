"""Exported and imported chats, Markdown transcripts, and files that messages refer to."""
