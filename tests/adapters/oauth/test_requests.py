"""Requests to authorization servers: which addresses a server may name, and what is not sent along."""

from pathlib import Path

import pytest

from parley_daemon.adapters.oauth.requests import check_url, requests
from parley_daemon.ports.mcp_authorization import McpAuthorizationError
from tests.support.mcp.stub_granter import stub_granter

REMOTE = "https://mcp.example/mcp"


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]/x", "http://as.example/x"),
        *("https://127.0.0.1/x", "https://localhost./x", "https://a.localhost/x", "https://127.1/x"),
        *(
            "https://0x7f000001/x",
            "https://2130706433/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://[fe80::1]/",
        ),
        *(
            "https://10.0.0.1/x",
            "https://169.254.169.254/latest",
            "https://192.168.1.1/x",
            "https://0.0.0.0/",
        ),
    ],
)
def test_a_server_elsewhere_may_not_name_this_machine_or_its_network(address: str) -> None:
    with pytest.raises(McpAuthorizationError):
        check_url(address, "It", REMOTE)


def test_a_server_may_name_public_addresses_and_one_of_this_machine_its_own() -> None:
    assert check_url("https://ace.cafe/x", "It", REMOTE)
    assert check_url("https://1.1.1.1/x", "It", REMOTE)
    assert check_url("https://10.0.0.1/token", "It", "https://10.0.0.1/mcp")
    for local in ("http://127.0.0.1:1/mcp", "http://localhost:1/mcp"):
        assert check_url("http://127.0.0.1:2/token", "It", local)
        with pytest.raises(McpAuthorizationError, match="is not https"):
            check_url("http://as.example/x", "It", local)


async def test_nothing_is_sent_to_an_address_that_is_refused() -> None:
    with stub_granter() as stub:
        async with requests(REMOTE) as http:
            with pytest.raises(McpAuthorizationError):
                await http.post_json(f"{stub.url}/register", "the registration", {})
        assert stub.requests == []


async def test_passwords_of_the_user_are_not_sent_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with stub_granter() as stub:  # which takes a header for a fault
        async with requests(stub.mcp) as http:
            assert (await http.get(f"{stub.url}/meta", "it")).status == 200
