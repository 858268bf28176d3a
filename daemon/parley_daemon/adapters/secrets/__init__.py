"""Stores API keys in the system keyring or in a file."""
