"""Which proxy of the environment a URL is reached through, by curl's rules.

Theory of operation. Sources: curl's manual page, sections ENVIRONMENT and --noproxy, and its function
Curl_check_noproxy. For https:// the proxy is in https_proxy or HTTPS_PROXY. For http:// it is in http_proxy
only: a CGI server puts a header of its client into HTTP_PROXY. If neither is set, it is in all_proxy or
ALL_PROXY. The name in lower case takes precedence, and an empty variable counts as not set. A proxy without a
scheme is an HTTP proxy; without a port it has port 1080, or 443 with https://.

no_proxy or NO_PROXY is a list of exceptions, separated by commas or blanks: a domain, which also stands for
everything below it, with or without a leading dot; an IP address, with or without brackets; a network in CIDR
notation; `*` for everything. In addition to curl's forms, a port can follow (`host:8080`), `*` can stand for
any characters of a name (`*.example.org`, which is the same as `.example.org`; `10.0.*`), and quotes, a
scheme or a path around a name (`https://host/`) are ignored.

A proxy that cannot be used is an error. It is never bypassed: the environment says that the direct way is not
wanted. Does no I/O.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROXY_PORTS = {"http": 1080, "https": 443}

# A scheme, and a path that is not the length or the mask of a network.
_AROUND_NAME = re.compile(r"^[a-z][a-z0-9+.-]*://|/(?![\d.]+$).*$")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy of the environment, and the variable that names it.

    `url` is without credentials; user and password are secrets and not part of the repr.
    """

    variable: str
    url: str
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the header that authenticates at the proxy (RFC 7617); empty without a user. A secret."""
        if self.user is None:
            return {}
        pair = f"{self.user}:{self.password}".encode("utf-8", "surrogateescape")
        return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


class UnusableProxyError(ValueError):
    """The environment names a proxy that cannot be used. The message is a sentence without credentials."""


def find_proxy(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a URL; None: it is reached directly.

    Raises:
        UnusableProxyError: the environment names a proxy that cannot be used.
    """
    parts = urlsplit(url)
    names = ("https_proxy", "HTTPS_PROXY") if parts.scheme == "https" else ("http_proxy",)
    variable = _first_set((*names, "all_proxy", "ALL_PROXY"), environment)
    if variable is None:
        return None
    exceptions = _first_set(("no_proxy", "NO_PROXY"), environment)
    if exceptions is not None and is_exempt(parts, environment[exceptions]):
        return None
    return _parse(variable, environment[variable].strip(), parts)


def is_exempt(parts: SplitResult, exceptions: str) -> bool:
    """Return whether a list such as NO_PROXY has an entry for a URL."""
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    address = _as_address(host)
    entries = re.split(r"[,;\s\"']+", exceptions.lower())
    return any(_matches(entry, host, port, address) for entry in entries)


def _first_set(names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    return next((name for name in names if environment.get(name, "").strip()), None)


def _matches(entry: str, host: str, port: int | None, address: Address | None) -> bool:
    pattern, wanted_port = _split_port(_AROUND_NAME.sub("", entry))
    if wanted_port is not None and wanted_port != port:
        return False
    pattern = pattern.strip("[]").rstrip(".:" if pattern.count(":") == 1 else ".")
    if not pattern:
        return False
    if address is not None and (network := _as_network(pattern)) is not None:
        return address.version == network.version and address in network
    if "*" in pattern.removeprefix("*."):
        return fnmatchcase(host, pattern.replace("[", "[[]").replace("?", "[?]"))
    domain = pattern.removeprefix("*").lstrip(".")
    return bool(domain) and address is None and (host == domain or host.endswith(f".{domain}"))


def _split_port(entry: str) -> tuple[str, int | None]:
    """Return an entry without its port, and the port. An IPv6 address has one only behind brackets."""
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*):(\d{1,5})", entry)
    return (found[1], int(found[2])) if found else (entry, None)


def _as_address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _as_network(text: str) -> IPv4Network | IPv6Network | None:
    address, slash, bits = text.replace("]/", "/").partition("/")
    plain = _as_address(address)
    if plain is None:
        return None
    try:
        return ip_network(f"{plain}/{bits}" if slash else plain, strict=False)
    except ValueError:
        return None


def _parse(variable: str, value: str, parts: SplitResult) -> Proxy:
    scheme, separator, rest = value.partition("://")
    scheme, rest = (scheme.lower(), rest) if separator else ("http", value)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    credentials, at, host = authority.rpartition("@")
    if "@" in rest[len(authority) :]:  # what was cut off is a part of the password
        why = "its password has a character that must be written in percent-encoding, such as %2F for /"
        raise _unusable(variable, f"{scheme}://{rest.rpartition('@')[2]}", parts, why)
    if scheme not in _PROXY_PORTS:
        kind = "SOCKS proxies" if scheme.startswith("socks") else f'proxies of the kind "{scheme}"'
        raise _unusable(variable, f"{scheme}://{host}", parts, f"{kind} are not supported")
    try:
        name, port = urlsplit(f"//{host}").hostname, urlsplit(f"//{host}").port or _PROXY_PORTS[scheme]
    except ValueError:
        name, port = None, 0
    if not name:
        raise _unusable(variable, f"{scheme}://{host}", parts, "it is not a valid URL")
    user, _, password = credentials.partition(":")
    url = f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"
    return Proxy(variable, url, unquote(user) if at else None, unquote(password))


def _unusable(variable: str, shown: str, parts: SplitResult, why: str) -> UnusableProxyError:
    right = "HTTPS_PROXY" if parts.scheme == "https" else "http_proxy"
    return UnusableProxyError(
        f"The proxy {shown} of {variable} cannot be used: {why}. Set {right} to the URL of an HTTP proxy, or"
        f" NO_PROXY to {parts.hostname} if it can be reached directly; then restart the daemon."
    )
