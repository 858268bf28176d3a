"""MCP servers, by the official SDK in a process of its own."""
