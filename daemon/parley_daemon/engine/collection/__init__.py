"""All chats of an engine: which are in memory, and creating, listing, archiving, copying them."""
