"""API keys in the system's keyring or in a file."""
