"""LSP's own side of a connection: documents, workspace folders, log messages."""
