"""The built-in demo model, which needs no key and no network."""
