"""Half characters: UTF-16 surrogates that JSON escapes can put into a string, and that no UTF-8 can hold."""


def mend_surrogates(text: str) -> str:
    """Return the text with surrogate pairs joined, and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
