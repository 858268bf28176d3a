"""The contract between daemon and clients: models, the method table, error codes, framing."""
