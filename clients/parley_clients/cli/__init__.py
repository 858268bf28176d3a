"""The command `parley`. Built on the synchronous client; rich is loaded when something is shown with it."""
