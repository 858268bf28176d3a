"""Processes and the sandboxes that they run in."""
