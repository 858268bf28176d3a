"""What the wire dialects share: reading a response, building a request."""
