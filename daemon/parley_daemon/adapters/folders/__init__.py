"""What adapters need to read folders: opening and walking them, the rules of git for files."""
