"""The calls of one message: asked about, run, and their results."""
