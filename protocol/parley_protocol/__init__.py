"""The wire contract: models, the method table, error codes. Knows nothing of the daemon."""
