"""OpenAI's chat completions dialect."""
