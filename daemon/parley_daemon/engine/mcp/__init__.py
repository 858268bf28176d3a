"""MCP servers: which there are, and when they run."""
