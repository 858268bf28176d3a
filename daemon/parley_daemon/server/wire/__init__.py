"""Between core records and the wire: the only code that knows both."""
