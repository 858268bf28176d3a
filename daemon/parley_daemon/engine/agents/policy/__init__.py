"""The rules of what models may do, and what people tell models in files."""
