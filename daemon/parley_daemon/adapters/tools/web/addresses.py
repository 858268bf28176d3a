"""Which addresses are public, and which URLs and hosts can be fetched at all.

Theory of operation. A name says nothing about where it leads. So the host of a URL is reduced to one spelling
(an address in any notation becomes the usual one), it is resolved once, every address that it has is tested,
and the connection goes to an address that was tested. What is not known to be public is refused: for IPv6,
only the space that is given out to the public (2000::/3) counts, and addresses that contain one of IPv4 are
what that one is.
"""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import anyio
import msgspec
from anyio import to_thread

MAX_URL = 8_000
"""Characters of a URL."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_UNUSABLE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
# Not public, although Python's tables do not say so: anycast of 6to4 relays, assignments of the IETF, and the
# address at which Azure answers to its virtual machines.
_OTHER_IPV4 = tuple(map(ip_network, ("192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32")))
_PUBLIC_IPV6 = ip_network("2000::/3")
# Tunnels (Teredo, 6to4) and what is for documentation, benchmarks and identifiers.
_OTHER_IPV6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = ip_network("64:ff9b::/96")

# Lookups run in threads that cannot be stopped; a resolver that hangs delays only other lookups.
_lookups = anyio.CapacityLimiter(8)

Address = IPv4Address | IPv6Address


class UnusableUrlError(ValueError):
    """A URL cannot be fetched. The message is a sentence for the model."""


class WebUrl(msgspec.Struct, frozen=True, gc=False):
    """A URL in one spelling. `host` is lower-case ASCII or an address without brackets; no fragment."""

    scheme: str
    host: str
    port: int
    rest: str

    @property
    def site(self) -> str:
        """The host, with the port if it is not the scheme's own; as rules of the policy name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.site}{self.rest}"


def parse_url(text: str) -> WebUrl:
    """Return a URL in one spelling.

    Raises:
        UnusableUrlError: it is not a URL of the web, or has a user name or password.
    """
    text = text.strip()
    if len(text) > MAX_URL:
        raise UnusableUrlError(f"The URL has {len(text):,} characters; at most {MAX_URL:,} are allowed.")
    if _UNUSABLE.search(text):
        raise UnusableUrlError("The URL has blanks, backslashes or control characters. Percent-encode them.")
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError:
        raise UnusableUrlError(f"{text} is not a valid URL.") from None
    if split.scheme not in DEFAULT_PORTS or not split.netloc:
        raise UnusableUrlError(
            f"{text} is not a URL with http:// or https://. Only such URLs can be fetched."
        )
    if "@" in split.netloc:
        raise UnusableUrlError("The URL has a user name or a password. Leave it out.")
    if port == 0:
        raise UnusableUrlError("The port of the URL is 0.")
    host = _one_spelling(split)
    query = f"?{split.query}" if split.query else ""
    return WebUrl(split.scheme, host, port or DEFAULT_PORTS[split.scheme], (split.path or "/") + query)


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet."""
    plain = _contained(address)
    if isinstance(plain, IPv6Address):
        return plain in _PUBLIC_IPV6 and plain.is_global and not any(plain in net for net in _OTHER_IPV6)
    return (
        plain.is_global
        and not plain.is_multicast
        and not plain.is_reserved
        and not any(plain in net for net in _OTHER_IPV4)
    )


def is_own(address: Address) -> bool:
    """Return whether an address is one of this machine, which also listens at its public addresses.

    The system chooses the source address for a destination; for its own addresses, that is the same one.
    Nothing is sent.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return ip_address(probe.getsockname()[0]) == address
    except OSError:  # there is no way to it at all
        return False


def may_connect(address: Address) -> bool:
    """Return whether a page may be fetched from an address: it is public, and not this machine's own."""
    return is_public(address) and not is_own(_contained(address))


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Return all addresses of a host.

    Raises:
        OSError: it has none, or they cannot be found out.
    """

    def look_up() -> list[Address]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]

    return list(dict.fromkeys(await to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=_lookups)))


def _one_spelling(split: SplitResult) -> str:
    """Return the host of a URL as the usual notation of an address, or as a name in lower case.

    Raises:
        UnusableUrlError: it is neither.
    """
    host = split.hostname or ""
    refusal = UnusableUrlError(f"{host or 'The empty text'} is not a valid host name.")
    if "%" in host:  # a zone, such as fe80::1%eth0, or percent-encoding
        raise refusal
    if "[" in split.netloc:
        try:
            return str(_contained(IPv6Address(host)))
        except ValueError:
            raise refusal from None
    if not host.isascii():
        from yarl import URL  # few URLs need it, and it takes tens of milliseconds

        try:
            host = (URL.build(scheme="http", host=host).raw_host or "").lower()
        except ValueError:
            raise refusal from None
    host = host.rstrip(".")
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise refusal
    try:
        return str(IPv4Address(socket.inet_aton(host)))  # 127.1, 0177.0.0.1, 0x7f000001 and 2130706433, too
    except OSError:
        return host


def _contained(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, otherwise the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
