"""What both stores need to answer queries: cursors, and the query language of search."""
