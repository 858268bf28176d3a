"""Searches the files of contexts, with an index in SQLite."""
