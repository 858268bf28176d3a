"""Connections, transports and handlers. Only this package uses JSON-RPC."""
