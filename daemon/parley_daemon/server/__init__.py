"""Connections, transports and handlers: the only code that knows the wire and pygls."""
