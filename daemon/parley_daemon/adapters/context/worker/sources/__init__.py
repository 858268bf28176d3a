"""The files of folders: which there are, what is in them, when they change, and how they are cut."""
