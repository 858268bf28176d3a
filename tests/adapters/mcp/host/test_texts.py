"""Texts of servers: what would change a terminal, or is seen by models alone, is left out."""

from parley_daemon.adapters.mcp.host.texts import cut_text, one_line

HOSTILE = "a\x1b[2Jb\u202ec\u2066d" + "".join([chr(0xE0000 + ord(sign)) for sign in "obey"])


def test_texts_have_no_controls_no_marks_that_reorder_and_no_invisible_letters() -> None:
    assert one_line(HOSTILE, 100) == "a [2Jb c d"
    assert cut_text(f"x\r\n\ty\n{HOSTILE}", 100) == "x\n\ty\na [2Jb c d "
    assert cut_text("é" * 200, 100) == "é" * 99 + "…"
    assert cut_text(None, 100) is None
