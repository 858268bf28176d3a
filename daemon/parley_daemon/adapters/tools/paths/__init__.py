"""Paths that a model names: where they lead, and how files there are opened and changed."""
