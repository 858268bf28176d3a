"""The tools that list folders and search text, and the process that does it."""
