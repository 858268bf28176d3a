"""The tool fetch_url against real servers, one of which must never be reached."""

import gzip
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_address
from urllib.parse import quote

import anyio
import pytest

from parley_daemon.adapters.tools.fetch_url import FetchUrlTool, RequestRate
from parley_daemon.adapters.tools.web.addresses import Address, is_own, is_public
from parley_daemon.adapters.tools.web.body import MAX_BODY
from parley_daemon.adapters.tools.web.client import FetchError, WebClient
from parley_daemon.core.agents.actions import Answer
from parley_daemon.core.agents.tools import FileChange, Preview, ToolOutput
from parley_daemon.ports.tools import CallContext, OtherTurns, ToolInputError, Workspace
from tests.support.processes.web_server import WebServer, redirect, response, run_web_server

PUBLIC = ip_address("127.0.0.1")
"""The address that counts as public in these tests. All others are as they are."""

PRIVATE = ip_address("127.0.0.2")


# fmt: off
LOCAL_HOSTS = [
    "127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "localhost", "localhost.",
    "LOCALHOST", "0.0.0.0", "0", "127.0.0.2", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]", "[::127.0.0.1]", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
    "\u246b7.1", "[2002:7f00:1::]", "127.0.0.1.", "017700000001",
]

NOT_PUBLIC = [
    "0.0.0.1", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "168.63.129.16",
    "169.254.169.254", "172.16.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1",
    "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
    "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "100::1", "2001::1",
    "2001:db8::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fec0::1", "ff02::1", "ff0e::1",
]
# fmt: on


class Silence:
    async def report(self, text: str) -> None:
        raise AssertionError(f"reported {text!r}")

    def note_progress(self, text: str) -> None:
        """See CallMonitor."""

    def wait_for_others(self) -> AbstractAsyncContextManager[OtherTurns]:
        """See CallMonitor."""
        raise AssertionError("no call of these tools waits for another chat")

    async def ask(self, title: str, preview: Preview) -> Answer:
        """See the port."""
        return Answer("denied")

    def note_changes(self, files: tuple[FileChange, ...], checkpoint_id: str | None) -> None:
        raise AssertionError(f"changed {files}")


def context(context_limit: int | None = None) -> CallContext:
    return CallContext("chat", "local", "turn", 3, "call", "ask", Workspace(), context_limit)


async def fetch(url: str, tool: FetchUrlTool | None = None, context_limit: int | None = None) -> ToolOutput:
    tool = tool or FetchUrlTool()
    with anyio.fail_after(30):
        try:
            inspection = await tool.inspect({"url": url}, context())
        except ToolInputError as error:
            return ToolOutput(str(error), "failed")
        assert (inspection.preview.url, inspection.asks) != (None, "permission")
        return await tool.run({"url": url}, context(context_limit), inspection, Silence(), None)


def make_tool(
    *answers: Sequence[Address], admit: Callable[[str], None] = lambda _host: None, seconds: float = 20.0
) -> FetchUrlTool:
    """Return a tool whose lookups have these answers, one after the other; the last one is repeated."""
    left = list(answers or [[PUBLIC]])

    async def resolve(_host: str, _port: int) -> Sequence[Address]:
        return left.pop(0) if len(left) > 1 else left[0]

    client = WebClient(
        admit, is_allowed=lambda address: address == PUBLIC or is_public(address), resolve=resolve
    )
    return FetchUrlTool(client, seconds=seconds)


@pytest.fixture
async def server() -> AsyncGenerator[WebServer]:
    async with run_web_server() as server:
        yield server


async def test_this_machine_and_private_networks_are_refused_however_they_are_written() -> None:
    async with run_web_server("0.0.0.0") as canary:
        for host in LOCAL_HOSTS:
            output = await fetch(f"http://{host}:{canary.port}/secret")
            assert output.outcome == "failed"
            assert "not in the public internet" in output.result, host
        for host in (
            "169.254.169.254",
            "10.0.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "[fd00:ec2::254]",
            "[fe80::1]",
        ):
            assert "not in the public internet" in (await fetch(f"http://{host}/")).result
    assert canary.connections == 0


@pytest.mark.parametrize(
    "address",
    NOT_PUBLIC,
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


def test_addresses_that_are_public() -> None:
    for address in ("1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"):
        assert is_public(ip_address(address))


async def test_a_name_with_one_private_address_is_refused_and_an_answer_is_used_once(
    server: WebServer,
) -> None:
    server.pages["/"] = response("public")
    server.pages["/again"] = redirect("/")
    async with run_web_server(str(PRIVATE), server.port) as canary:
        url = f"http://example.org:{server.port}"
        assert "public" in (await fetch(url, make_tool([PUBLIC], [PRIVATE]))).result
        for answers in ([PUBLIC, PRIVATE], [PRIVATE]):
            assert "not in the public internet" in (await fetch(url, make_tool(answers))).result
        rebound = await fetch(f"{url}/again", make_tool([PUBLIC], [PRIVATE]))
        assert "not in the public internet" in rebound.result
        assert canary.connections == 0


async def test_a_redirect_is_followed_within_its_site_only(server: WebServer) -> None:
    async with run_web_server(str(PRIVATE)) as canary:
        site = f"http://example.org:{server.port}"
        server.pages |= {
            "/old": redirect("new?a=1"),
            "/new?a=1": response("here it is"),
            "/loop": redirect("/loop"),
            "/out": redirect(f"http://other.example:{canary.port}/secret"),
            "/in": redirect(f"http://{PRIVATE}:{canary.port}/secret"),
            "/user": redirect(f"http://a:b@example.org:{server.port}/"),
            "/file": redirect("file:///etc/passwd"),
            "/tls": redirect(f"https://example.org:{server.port}/"),
        }
        output = await fetch(f"{site}/old", make_tool())
        assert (output.outcome, "here it is" in output.result) == ("ok", True)
        assert output.result.startswith(f"{site}/new?a=1 (200 OK, text/plain)")
        expected = {
            "/loop": "redirects more than 5 times",
            "/out": f"redirects to http://other.example:{canary.port}/secret, which is another site",
            "/in": f"http://{PRIVATE}:{canary.port}/secret, which is another site",
            "/user": "no URL that can be fetched",
            "/file": "no URL that can be fetched",
            "/tls": "which is another site",
        }
        for path, message in expected.items():
            output = await fetch(site + path, make_tool())
            assert output.outcome == "failed"
            assert message in output.result
        assert server.paths.count("/loop") == 6
        assert canary.connections == 0


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://example.org/", "http:// or https://"),
        ("//example.org", "http:// or https://"),
        ("http:///path", "http:// or https://"),
        ("http://user:pw@example.org/", "user name or a password"),
        ("http://example.org@127.0.0.1/", "user name or a password"),
        ("http://example.org\\@127.0.0.1/", "backslashes"),
        ("http://example.org/\r\nHost: x", "control characters"),
        ("http://127%2e0.0.1/", "not a valid host name"),
        ("http://[fe80::1%25eth0]/", "not a valid"),
        ("http://example.org:0/", "port"),
        ("http://127.1:8080/", "not in the public internet"),
        ("http://[::ffff:10.0.0.1]/", "not in the public internet"),
        ("http://example.org:99999/", "not a valid URL"),
        ("http://example.org/" + "x" * 8_000, "at most 8,000"),
    ],
)
async def test_urls_that_are_refused_before_anybody_is_asked(url: str, why: str) -> None:
    with pytest.raises(ToolInputError, match=why):
        await FetchUrlTool().inspect({"url": url}, context())


async def test_rules_see_one_spelling_of_a_host() -> None:
    spellings = {
        "HTTP://Example.ORG./a#b": "example.org",
        "https://example.org:443": "example.org",
        "http://example.org:8080/": "example.org:8080",
        "http://134744072/": "8.8.8.8",
        "http://[::ffff:8.8.8.8]:81/": "8.8.8.8:81",
        "http://[2606:4700:0::1111]/": "[2606:4700::1111]",
        "http://bücher.example/": "xn--bcher-kva.example",
    }
    for url, host in spellings.items():
        assert (await FetchUrlTool().inspect({"url": url}, context())).host == host


async def test_html_becomes_readable_text_and_other_types_are_described(server: WebServer) -> None:
    server.pages |= {
        "/page": response("<title>A &amp; B</title><h1>Hi</h1><p>a<script>x</script> b", "text/html"),
        "/json": response('{"a": 1}', "application/vnd.api+json"),
        "/none": response("<!DOCTYPE html><p>sniffed", None),
        "/png": response(b"\x89PNG", "image/png"),
        "/bytes": response(b"\0\1", None),
        "/empty": response("", "text/html"),
    }
    site = f"http://example.org:{server.port}"
    results = {path: (await fetch(site + path, make_tool())).result for path in server.pages}
    assert results["/page"] == f"{site}/page (200 OK, text/html)\nTitle: A & B\n\n# Hi\n\na b"
    assert results["/json"].endswith('\n\n{"a": 1}')
    assert results["/none"].endswith("\n\nsniffed")
    assert "is image/png, of 4 bytes. Only text can be shown." in results["/png"]
    assert "is unknown type, of 2 bytes" in results["/bytes"]
    assert "The page has no text." in results["/empty"]
    missing = await fetch(f"{site}/missing", make_tool())
    assert (missing.outcome, "404 Not Found" in missing.result) == ("failed", True)


async def test_a_page_is_read_in_its_own_encoding(server: WebServer) -> None:
    pages = {
        "header": ("Grüße", "shift_jis", "text/plain; charset=windows-1252", "cp1252"),
        "meta": ('<meta charset="koi8-r">привет', "", "text/html", "koi8-r"),
        "guess": ("naïve text", "", "text/plain", "cp1252"),
        "utf8": ("naïve text", "", "text/plain", "utf-8"),
        "mark": ("\ufeffsnow ☃", "", "text/plain; charset=ascii", "utf-16"),
        "latin": ("“quoted”", "", "text/plain; charset=iso-8859-1", "cp1252"),
        "odd": ("plain \\ud800", "", "text/plain; charset=unicode_escape", "utf-8"),
    }
    for name, (text, _, content_type, encoding) in pages.items():
        server.pages[f"/{quote(name)}"] = response(text.encode(encoding), content_type)
    for name, (text, *_) in pages.items():
        output = await fetch(f"http://example.org:{server.port}/{name}", make_tool())
        assert text.rpartition(">")[2].strip("\ufeff") in output.result


async def test_compressed_pages_are_unpacked_within_the_limit(server: WebServer) -> None:
    bomb = gzip.compress(b"a" * (50 * MAX_BODY))
    raw = zlib.compressobj(wbits=-15)
    server.pages |= {
        "/gzip": response(gzip.compress(b"unpacked"), Content_Encoding="gzip"),
        "/deflate": response(zlib.compress(b"unpacked"), Content_Encoding="deflate"),
        "/raw": response(raw.compress(b"unpacked") + raw.flush(), Content_Encoding="deflate"),
        "/bomb": response(bomb, Content_Encoding="gzip"),
        "/broken": response(b"no gzip", Content_Encoding="gzip"),
        "/br": response(b"?", Content_Encoding="br"),
    }
    site = f"http://example.org:{server.port}"
    for path in ("/gzip", "/deflate", "/raw"):
        assert (await fetch(site + path, make_tool())).result.endswith("\n\nunpacked")
    bombed = await fetch(f"{site}/bomb", make_tool())
    assert "cut off after 100,000 bytes" in bombed.result
    assert len(bombed.result) < 100_200
    small = await fetch(f"{site}/bomb", make_tool(), context_limit=4_096)
    assert "cut off after 16,384 bytes" in small.result
    assert "not valid gzip data" in (await fetch(f"{site}/broken", make_tool())).result
    assert "compressed as 'br'" in (await fetch(f"{site}/br", make_tool())).result


async def test_what_does_not_answer_is_named() -> None:
    async with run_web_server() as server:
        port = server.port
        server.pages["/half"] = response("half")[:-2].replace(b"Length: 4", b"Length: 400")
        assert "broke off" in (await fetch(f"http://example.org:{port}/half", make_tool())).result
    assert "cannot be reached" in (await fetch(f"http://example.org:{port}/", make_tool())).result
    assert "is not known" in (await fetch("http://parley.invalid/")).result

    async with run_web_server() as server:
        server.pages["/slow"] = response("beginning").replace(b"Length: 9", b"Length: 90")
        server.unfinished.add("/slow")
        output = await fetch(f"http://example.org:{server.port}/slow", make_tool(seconds=0.5))
        assert (output.outcome, "within 0.5 s" in output.result) == ("timed_out", True)
        with anyio.fail_after(20):
            await server.left.wait()

    async def hang(_host: str, _port: int) -> Sequence[Address]:
        await anyio.sleep_forever()
        raise AssertionError

    client = WebClient(lambda _host: None, resolve=hang)
    output = await fetch("http://example.org/", FetchUrlTool(client, seconds=0.01))
    assert (output.outcome, "within 0.01 s" in output.result) == ("timed_out", True)


async def test_a_host_is_asked_ten_times_a_minute(server: WebServer) -> None:
    now = 0.0
    rate = RequestRate(lambda: now)
    server.pages |= {"/": response("ok"), "/r": redirect("/")}
    tool = make_tool(admit=rate.admit)
    site = f"http://example.org:{server.port}"
    outcomes = [(await fetch(f"{site}/r", tool)).outcome for _ in range(5)]
    assert outcomes == ["ok"] * 5
    refused = await fetch(site, tool)
    assert "asked 10 times within a minute. Ask it again in 61 s" in refused.result
    assert (await fetch(f"http://other.example:{server.port}", tool)).outcome == "ok"
    now = 61.0
    assert (await fetch(site, tool)).outcome == "ok"
    for number in range(9_999):
        rate.admit(f"{number}.example")
    with pytest.raises(FetchError, match="Too many hosts"):
        rate.admit("one.more.example")


def test_the_addresses_of_this_machine_are_known() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("1.1.1.1"))
