"""What is wrong with a database, and what of it can be read."""
