"""How model providers are spoken to: HTTP, event streams, and one module or two for each dialect."""
