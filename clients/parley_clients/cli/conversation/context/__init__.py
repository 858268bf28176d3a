"""What `parley chat` does with files: the sources of answers, and files that a message refers to."""
