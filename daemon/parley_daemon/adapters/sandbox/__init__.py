"""Starts processes, in a sandbox where there is one."""
