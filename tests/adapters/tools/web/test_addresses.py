"""One spelling for each URL, so that what a rule sees is where the connection goes."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.adapters.tools.web.addresses import UnusableUrlError, is_public, parse_url

PIECES = st.sampled_from(
    ["http://", "https://", "//", "a", "example.org", ".", ":", "@", "/", "\\", "[", "]", "::1", "127",
     "0x7f", "%", "%2e", "#", "?", "80", "\t", " ", "\u3002", "\uff11", "-", "_", "é"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
def test_a_url_that_is_read_is_read_the_same_again(text: str) -> None:
    try:
        url = parse_url(text)
    except UnusableUrlError as error:
        assert str(error)
        return
    assert parse_url(str(url)) == url
    assert not set(url.host) & set("@/\\%[]?# ")


@given(st.integers(0, 2**32 - 1))
def test_every_notation_of_an_address_is_that_address(number: int) -> None:
    address = ip_address(number)
    octets = address.packed
    notations = [
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(f"0{octet:o}" for octet in octets),
        ".".join(hex(octet) for octet in octets),
        f"{octets[0]}.{number & 0xFFFFFF}",
        f"{address}.",
        f"[::ffff:{address}]",
    ]
    assert {parse_url(f"http://{notation}/").host for notation in notations} == {str(address)}
    assert is_public(ip_address(f"::ffff:{address}")) == is_public(address)
    assert not (is_public(address) and address.is_private)
