"""HTTP to providers: connections, server-sent events, failures."""
