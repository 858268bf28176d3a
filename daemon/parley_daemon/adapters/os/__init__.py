"""The operating system: clock, directory lock, file notices."""
