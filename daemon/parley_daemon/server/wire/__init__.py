"""The translation between core records and the wire."""
