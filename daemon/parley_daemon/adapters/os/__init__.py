"""Adapters of the operating system: clock, directory lock, file watch."""
