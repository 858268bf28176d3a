"""The connection to the daemon: byte streams, JSON-RPC requests, reconnecting."""
