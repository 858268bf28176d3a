"""Pull requests on GitHub, and on servers with its API."""
