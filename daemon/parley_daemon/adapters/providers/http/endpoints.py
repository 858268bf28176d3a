"""URLs of endpoints below the base URL of a configuration, with or without its version; local addresses."""

import re
from ipaddress import IPv6Address, ip_address
from socket import inet_aton
from urllib.parse import urlsplit, urlunsplit

_VERSION = re.compile(r"v\d+[a-z0-9]*")
_ENDPOINT = re.compile(r"/(chat/completions|responses|messages)$")


def endpoint_url(base_url: str, path: str, *, version: str = "v1") -> str:
    """Return the URL of an endpoint, such as "/chat/completions", below a base URL.

    The version is inserted unless the path of the base URL contains one (`/v1`, `/api/v3`, `/v1beta/openai`).
    When the base URL is itself an endpoint of a dialect, other endpoints are its neighbours. A query is kept.

    Raises:
        ValueError: it is not an http or https URL.
    """
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", parts.netloc):
        raise ValueError("base_url must begin with http:// or https:// and name a host")
    _ = parts.port  # raises ValueError when it is no number
    base = parts.path.rstrip("/")
    if base.endswith(path):
        pass
    elif endpoint := _ENDPOINT.search(base):
        base = base[: endpoint.start()] + path
    else:
        has_version = any(_VERSION.fullmatch(segment) for segment in base.split("/"))
        base += path if has_version or not version else f"/{version}{path}"
    return urlunsplit((parts.scheme, parts.netloc, base, parts.query, ""))


def without_version(url: str) -> str | None:
    """Return the URL of an endpoint without its version; None: it has none."""
    shorter = re.sub(r"/v1(?=/(chat/completions|messages)$)", "", url)
    return None if shorter == url else shorter


def is_local(url: str) -> bool:
    """Return whether the server of a URL is on this machine, in any spelling of its address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        # "127.1" is a valid address for `connect`, and the unspecified address reaches this machine, too.
        address = ip_address(inet_aton(host) if re.fullmatch(r"[0-9a-fx.]+", host) else host)
    except (ValueError, OSError):
        return host == "localhost" or host.endswith(".localhost")
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    address = inner or address
    return address.is_loopback or address.is_unspecified
