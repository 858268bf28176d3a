"""Programs that the daemon starts: what ends them with everything below them, and what restricts them."""
