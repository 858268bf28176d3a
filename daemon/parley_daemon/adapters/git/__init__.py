"""Reads git repositories with the command line of git."""
