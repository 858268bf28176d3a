"""OpenAI's responses dialect."""
