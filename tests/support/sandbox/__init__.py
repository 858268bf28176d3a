"""Commands in real sandboxes, as an ordinary user."""
