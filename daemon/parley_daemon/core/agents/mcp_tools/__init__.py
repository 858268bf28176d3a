"""The rules of the tools of MCP servers, without I/O."""
