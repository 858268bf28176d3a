"""What the engine asks of the world, as typing.Protocol classes with their own errors."""
