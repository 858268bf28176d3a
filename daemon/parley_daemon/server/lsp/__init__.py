"""LSP's own side of a connection: open documents and workspace folders."""
