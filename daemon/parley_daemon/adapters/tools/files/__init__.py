"""The tools for files: reading, listing, searching, and changing them."""
