"""Providers and models as they are configured over the protocol."""
