"""Validates JSON Schema in a separate process."""
