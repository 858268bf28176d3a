"""One client's connection and its requests."""
