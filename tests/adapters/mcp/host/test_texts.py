"""Texts of servers: what would change a terminal, or is seen by models alone, is left out."""

from parley_daemon.adapters.mcp.host.texts import cut_text, find_secrets, one_line, redact
from parley_daemon.ports.mcp import McpTarget

HOSTILE = "a\x1b[2Jb\u202ec\u2066d" + "".join([chr(0xE0000 + ord(sign)) for sign in "obey"])


def test_texts_have_no_controls_no_marks_that_reorder_and_no_invisible_letters() -> None:
    assert one_line(HOSTILE, 100) == "a [2Jb c d"
    assert cut_text(f"x\r\n\ty\n{HOSTILE}", 100) == "x\n\ty\na [2Jb c d "
    assert cut_text("é" * 200, 100) == "é" * 99 + "…"
    assert cut_text(None, 100) is None


def test_what_a_server_was_given_is_not_told() -> None:
    args = ("-v", "--api-key", "secret-1", "--token=secret-2", "--header", "Authorization: Bearer secret-3")
    target = McpTarget(command="x", args=args, environment={"PATH": "/usr/bin", "KEY": "secret-4"})
    said = "no: secret-1 secret-2 Bearer secret-3 / secret-3, secret-4 in /usr/bin -v"
    hidden = "[hidden]"
    assert redact(said, find_secrets(target)) == (
        f"no: {hidden} {hidden} {hidden} / {hidden}, {hidden} in /usr/bin -v"
    )
    web = McpTarget(url="https://example.org/mcp?token=secret-5", headers={"X": "secret-6"})
    assert redact("token=secret-5, secret-6", find_secrets(web)) == f"{hidden}, {hidden}"
    assert redact("https://example.org/mcp", find_secrets(web)) == "https://example.org/mcp"
