"""The program of the process that indexes folders and searches them."""
