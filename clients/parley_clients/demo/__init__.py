"""The demo of `make demo`: `__main__` runs a private daemon, `chats` and `repair` show what it does."""
