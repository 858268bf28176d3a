"""Questions of servers: which pages a person can be sent to."""

import pytest

pytest.importorskip("mcp_types", reason="the extra mcp is not installed")

from parley_daemon.adapters.mcp.host.questions import QuestionError, read_question


def test_a_page_is_one_of_the_web_and_names_its_host_plainly() -> None:
    page = "https://example.org/consent?id=1"
    assert read_question({"mode": "url", "message": "\x1b[2J", "url": page}).url == page
    for address in (
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "https://github.com@evil.example/",
        "https://example.org/\u202e",
        "https://",
        "https://[",
        7,
    ):
        with pytest.raises(QuestionError):
            read_question({"mode": "url", "message": "Go there", "url": address})
