"""What several adapters need to read folders: the rules of git for files to leave out."""
