"""The hosts of repositories in the configuration file, and what is wrong with them."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from parley_daemon.ports.pull_requests import RepositoryHost

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class HostTable(msgspec.Struct, forbid_unknown_fields=True):
    """The table `[repository_hosts."HOST"]`."""

    token: str | None = None
    """A token that may read pull requests."""
    token_env: str | None = None
    """The environment variable that has the token."""
    api_url: str | None = None
    """The address of its API; absent: that of github.com, or of a GitHub server at this host."""


class InvalidHostError(Exception):
    """A table is invalid. `path` is that of the setting in the file."""

    def __init__(self, path: tuple[str, ...], problem: str) -> None:
        super().__init__(problem)
        self.path = path
        self.problem = problem


def read_hosts(tables: Mapping[str, HostTable]) -> tuple[RepositoryHost, ...]:
    """Return the hosts.

    Raises:
        InvalidHostError: one of them has no token, or an address that is not safe.
    """
    return tuple([_read_host(name, table) for name, table in tables.items()])


def _read_host(name: str, table: HostTable) -> RepositoryHost:
    path = ("repository_hosts", name)
    if (table.token is None) == (table.token_env is None):
        raise InvalidHostError(path, f"the host {name} needs token or token_env, and not both")
    default = "https://api.github.com" if name.lower() == "github.com" else f"https://{name}/api/v3"
    url = (table.api_url or default).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InvalidHostError((*path, "api_url"), "the address of an API begins with https://")
    return RepositoryHost(name, url, table.token, table.token_env)
