"""Sockets, pipes and threads that carry bytes."""
