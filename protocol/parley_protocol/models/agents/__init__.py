"""Models of what chats may do: tools, permissions, MCP servers, jobs, checkpoints."""
