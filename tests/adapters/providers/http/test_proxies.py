"""Which proxy of the environment a URL is reached through."""

from urllib.parse import urlsplit

import pytest

from parley_daemon.adapters.providers.http.proxies import Proxy, UnusableProxyError, find_proxy, is_exempt

HTTP, HTTPS = "http://llm.corp.test/v1", "https://llm.corp.test/v1"


@pytest.mark.parametrize(
    ("url", "environment", "variable"),
    [
        (HTTPS, {"HTTPS_PROXY": "p:1"}, "HTTPS_PROXY"),
        (HTTPS, {"https_proxy": "p:1", "HTTPS_PROXY": "q:1"}, "https_proxy"),
        (HTTPS, {"http_proxy": "p:1"}, None),
        (HTTPS, {"ALL_PROXY": "p:1"}, "ALL_PROXY"),
        (HTTPS, {"all_proxy": "p:1", "ALL_PROXY": "q:1"}, "all_proxy"),
        (HTTPS, {"HTTPS_PROXY": "p:1", "all_proxy": "q:1"}, "HTTPS_PROXY"),
        (HTTPS, {"https_proxy": "", "HTTPS_PROXY": " ", "ALL_PROXY": "p:1"}, "ALL_PROXY"),
        (HTTP, {"http_proxy": "p:1"}, "http_proxy"),
        (HTTP, {"HTTP_PROXY": "p:1"}, None),
        (HTTP, {"HTTP_PROXY": "p:1", "ALL_PROXY": "q:1"}, "ALL_PROXY"),
        (HTTP, {"HTTPS_PROXY": "p:1"}, None),
        (HTTP, {}, None),
    ],
)
def test_the_variable_of_a_scheme_comes_before_the_one_of_all(
    url: str, environment: dict[str, str], variable: str | None
) -> None:
    proxy = find_proxy(url, environment)
    assert (proxy.variable if proxy else None) == variable


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("proxy.test:3128", "http://proxy.test:3128"),
        ("http://proxy.test:3128/", "http://proxy.test:3128"),
        ("HTTP://Proxy.Test", "http://proxy.test:1080"),
        ("https://proxy.test", "https://proxy.test:443"),
        ("proxy.test", "http://proxy.test:1080"),
        (" 10.0.0.1:8 ", "http://10.0.0.1:8"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("http://[fd00::1]", "http://[fd00::1]:1080"),
    ],
)
def test_a_proxy_may_leave_out_its_scheme_and_its_port(value: str, url: str) -> None:
    assert find_proxy(HTTPS, {"ALL_PROXY": value}) == Proxy("ALL_PROXY", url)


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        ("http://ada:secret@proxy.test:3128", "YWRhOnNlY3JldA=="),
        ("ada:secret@proxy.test:3128", "YWRhOnNlY3JldA=="),
        ("http://ada:p%40ss%3A1@proxy.test", "YWRhOnBAc3M6MQ=="),
        ("http://ada:p@ss:1@proxy.test", "YWRhOnBAc3M6MQ=="),
        ("http://ada@proxy.test", "YWRhOg=="),
        ("http://ada:gr%C3%BC%C3%9Fe@proxy.test", "YWRhOmdyw7zDn2U="),
    ],
)
def test_user_and_password_become_a_header_and_are_not_shown(value: str, pair: str) -> None:
    proxy = find_proxy(HTTPS, {"https_proxy": value})
    assert proxy is not None
    assert proxy.headers == {"Proxy-Authorization": f"Basic {pair}"}
    assert "ada" not in repr(proxy)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://ada:secret@proxy.test:1080", "SOCKS proxies are not supported"),
        ("socks5h://proxy.test", "SOCKS proxies are not supported"),
        ("SOCKS4a://proxy.test", "SOCKS proxies are not supported"),
        ("ftp://proxy.test", 'proxies of the kind "ftp" are not supported'),
        ("http://proxy.test:port", "it is not a valid URL"),
        ("http://proxy.test:99999", "it is not a valid URL"),
        ("http://", "it is not a valid URL"),
        ("http://[::1", "it is not a valid URL"),
        ("http://ada:sec/ret@proxy.test:1", "must be written in percent-encoding"),
        ("ada:secret#@proxy.test:1", "must be written in percent-encoding"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_with_its_variable(value: str, why: str) -> None:
    with pytest.raises(UnusableProxyError) as caught:
        find_proxy(HTTPS, {"ALL_PROXY": value})
    message = str(caught.value)
    assert why in message
    assert "of ALL_PROXY cannot be used" in message
    assert "sec" not in message
    assert find_proxy(HTTPS, {"ALL_PROXY": value, "no_proxy": "corp.test"}) is None


EXEMPT = [
    ("llm.corp.test", "llm.corp.test"),
    ("llm.corp.test", "corp.test"),
    ("llm.corp.test", ".corp.test"),
    ("llm.corp.test", "*.corp.test"),
    ("llm.corp.test", "LLM.Corp.TEST"),
    ("LLM.CORP.TEST", "llm.corp.test"),
    ("llm.corp.test.", "corp.test"),
    ("llm.corp.test", "corp.test."),
    ("corp.test", ".corp.test"),
    ("corp.test", "*.corp.test"),
    ("llm.corp.test", "*"),
    ("llm.corp.test", "other.test, *"),
    ("llm.corp.test", "a.test,llm.corp.test,b.test"),
    ("llm.corp.test", " a.test ,  llm.corp.test "),
    ("llm.corp.test", "a.test llm.corp.test"),
    ("llm.corp.test", "a.test\tcorp.test"),
    ("llm.corp.test", ",,corp.test,"),
    ("llm.corp.test", "llm.corp.test:443"),
    ("llm.corp.test:8443", "llm.corp.test:8443"),
    ("llm.corp.test:8443", "*.corp.test:8443"),
    ("llm.corp.test:8443", "corp.test"),
    ("llm.corp.test", "llm.*.test"),
    ("10.1.2.3", "10.1.2.3"),
    ("10.1.2.3", "10.1.0.0/16"),
    ("10.1.2.3", "10.1.2.3/8"),
    ("10.1.2.3:8080", "10.0.0.0/8"),
    ("10.1.2.3:8080", "10.1.2.3:8080"),
    ("10.1.2.3", "10.1.*"),
    ("[fd00::1]", "fd00::1"),
    ("[fd00::1]", "[fd00::1]"),
    ("[fd00::1]", "FD00:0:0::1"),
    ("[fd00::1]", "fd00::/8"),
    ("[fd00::1]", "[fd00::]/8"),
    ("[fd00::1]:8080", "[fd00::1]:8080"),
    ("[::ffff:10.1.2.3]", "10.0.0.0/8"),
    ("llm.corp.test", "https://llm.corp.test/v1"),
    ("llm.corp.test", "corp.test/"),
    ("llm.corp.test:8443", "http://corp.test:8443/"),
    ("llm.corp.test", "'corp.test'"),
    ("llm.corp.test", "a.test;corp.test"),
    ("llm.corp.test", "..corp.test"),
    ("llm.corp.test", "corp.test:"),
    ("[fd00::1]", "https://[fd00::1]/"),
]

PROXIED = [
    ("llm.corp.test", ""),
    ("llm.corp.test", " , "),
    ("llm.corp.test", "."),
    ("llm.corp.test", "*.other.test"),
    ("llm.corp.test", "orp.test"),
    ("llm.corp.test", "m.corp.test"),
    ("llm.corp.test", "llm.corp"),
    ("llm.corp.test", "x.llm.corp.test"),
    ("llm.corp.test", "llm.corp.test:80"),
    ("llm.corp.test:8443", "llm.corp.test:8444"),
    ("llm.corp.test", "10.0.0.0/8"),
    ("llm.corp.test", "llm.corp.test/8"),
    ("10.1.2.3", "10.1.2.4"),
    ("10.1.2.3", "10.2.0.0/16"),
    ("10.1.2.3", "2.3"),
    ("10.1.2.3", "10.1.0.0/99"),
    ("10.1.2.3", "fd00::/8"),
    ("10.1.2.3:8080", "10.1.2.3:80"),
    ("[fd00::1]", "fd00::2"),
    ("[fd00::1]", "10.0.0.0/8"),
    ("[fd00::1]", "fe80::/10"),
    ("[fd00::1]:8080", "[fd00::1]:80"),
]


@pytest.mark.parametrize(("host", "exceptions"), EXEMPT)
def test_an_entry_of_no_proxy_exempts_a_host(host: str, exceptions: str) -> None:
    assert is_exempt(urlsplit(f"https://{host}/v1"), exceptions)


@pytest.mark.parametrize(("host", "exceptions"), PROXIED)
def test_no_other_host_is_exempt(host: str, exceptions: str) -> None:
    assert not is_exempt(urlsplit(f"https://{host}/v1"), exceptions)


def test_the_exceptions_in_lower_case_take_precedence() -> None:
    environment = {"https_proxy": "p:1", "NO_PROXY": "corp.test"}
    assert find_proxy(HTTPS, environment) is None
    assert find_proxy(HTTPS, {**environment, "no_proxy": ""}) is None
    assert find_proxy(HTTPS, {**environment, "no_proxy": "other.test"}) is not None
