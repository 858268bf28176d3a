"""The program of the helper process. Only it imports the SDK; the daemon never imports this folder."""
