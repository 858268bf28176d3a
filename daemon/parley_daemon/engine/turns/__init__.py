"""Turns: one run each, its model calls, retries, fallbacks and deadlines."""
