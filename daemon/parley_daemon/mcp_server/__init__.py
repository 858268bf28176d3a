"""`parleyd mcp`: the chats of the daemon for other agents, as an MCP server over standard streams."""
