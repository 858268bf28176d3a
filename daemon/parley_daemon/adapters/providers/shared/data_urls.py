"""URLs that hold their file themselves (`data:image/png;base64,…`), taken apart. Knows no dialect."""

import base64
from urllib.parse import unquote, unquote_to_bytes

from parley_daemon.adapters.providers.shared.surrogates import mend_surrogates

_SCHEME = "data:"


def is_data_url(url: str) -> bool:
    """Whether the URL is the file and not its place."""
    return url[: len(_SCHEME)].lower() == _SCHEME


def data_of(url: str) -> str | None:
    """Return the file in a data URL as base64, however it is written there; None when there is none."""
    kind, _, data = url[len(_SCHEME) :].partition(",")
    if not kind.rstrip().lower().endswith(";base64"):
        return base64.b64encode(unquote_to_bytes(mend_surrogates(data))).decode() or None
    text = "".join(unquote(data).split())
    return text + "=" * (-len(text) % 4) or None
