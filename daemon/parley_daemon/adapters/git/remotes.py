"""URLs of remotes, as they may be shown."""

import re
from urllib.parse import urlsplit, urlunsplit

_SCP = re.compile(r"(?:[^@/:]+@)?([^/:]+):(?!/)(.*)")


def clean_remote(url: str) -> str:
    """Return the URL of a remote without user, password and query; `host:path` as an `ssh:` URL."""
    if "://" not in url:
        match = _SCP.fullmatch(url)
        return f"ssh://{match[1]}/{match[2]}" if match else url
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except ValueError:
        return ""
