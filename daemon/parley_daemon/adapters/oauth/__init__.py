"""Authorization of MCP servers by OAuth 2.1."""
