"""Markdown on a terminal: whatever a model writes, no word of it is lost."""

import io

import pytest
from rich.console import Console

from parley_clients.cli.display.blocks import Block, BlockCutter
from parley_clients.cli.display.markdown import THEME, RenderedBlock
from parley_clients.cli.messages import escape_controls, one_line


def drawn(source: str, width: int = 80) -> str:
    """Return what a terminal shows of an answer, block by block."""
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, theme=THEME)
    cutter = BlockCutter()
    for block in [*cutter.feed(source), *cutter.finish()]:
        console.print(RenderedBlock(block), crop=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "source",
    [
        "A List<String> holds <b>bold</b> text.",
        "<div>",
        '<div class="a">\n    <p>indented</p>\n</div>',
        "cd <your-project>",
        "<!-- a comment -->",
        "- an item with <kbd>Ctrl</kbd>",
        "x < y and y > z",
        "# Heading with <T>",
    ],
)
def test_html_is_shown_as_it_is_written(source: str) -> None:
    shown = drawn(source)
    for word in source.lstrip("#- ").split():
        assert word in shown


def test_lines_of_html_stay_lines() -> None:
    source = "<details>\n<summary>More</summary>\n  text\n</details>"
    assert drawn(source).splitlines() == source.splitlines()


def test_html_in_a_table_and_in_a_quote_is_shown() -> None:
    shown = drawn("| type | for |\n|---|---|\n| Map<K,V> | maps |\n\n> a <i>quote</i>\n")
    assert "Map<K,V>" in shown
    assert "a <i>quote</i>" in shown


@pytest.mark.parametrize("around", ["{}", "- {}", "> {}", "| {} | b |\n|---|---|\n| 1 | 2 |"])
def test_an_image_is_shown_in_its_place_with_its_address(around: str) -> None:
    shown = drawn(around.format("before ![a cat](http://i.example/cat.png) after"), 120)
    assert "before ![a cat](http://i.example/cat.png) after" in shown


@pytest.mark.parametrize(
    "source",
    [
        "See [the page](http://p.example/a_b_c).",
        "See <http://p.example/a_b_c>.",
        "See [the page][1].\n\n[1]: http://p.example/a_b_c",
        "[1]: http://p.example/a_b_c\nSee [the page][1].",
        "[![a cat](c.png)](http://p.example/a_b_c)",
        "See [http://p.example/a_b_c](http://p.example/a_b_c).",
    ],
)
def test_the_address_of_a_link_is_shown_once(source: str) -> None:
    shown = drawn(source)
    assert shown.count("http://p.example/a_b_c") == 1
    assert "page" in shown or "See" in shown or "a cat" in shown


def test_definitions_of_links_stand_on_lines_of_their_own() -> None:
    shown = drawn("See [a] and [b].\n\n[a]: http://a.example\n[b]: http://b.example 'B'\n")
    assert [line for line in shown.splitlines() if line.startswith("[")] == [
        "[a]: http://a.example",
        "[b]: http://b.example 'B'",
    ]


def test_no_line_is_filled_up_with_blanks() -> None:
    shown = drawn("> a quote\n\n- an item\n\n```py\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
    assert "a quote" in shown
    assert "x = 1" in shown
    assert [line for line in shown.splitlines() if line.endswith(" ")] == []


LONG = 'const line = "' + "x" * 200 + '";'


@pytest.mark.parametrize(
    "around",
    ["```js\n{}\n```", "- an item\n\n  ```js\n  {}\n  ```\n", "> ```\n> {}\n> ```", "text\n\n    {}"],
)
def test_a_line_of_code_is_one_line_without_padding(around: str) -> None:
    assert LONG in drawn(around.format(LONG), 40).split("\n")


def test_code_is_shown_as_it_is_written() -> None:
    code = "def f():\n\treturn 1\n\n\n    # end  "
    assert f"```py\n{code}\n```\n" in drawn(f"```py\n{code}\n```")
    assert drawn("```\n```") == "```\n```\n"
    many = "\n".join(f"line {number}" for number in range(200))
    assert drawn(f"~~~text\n{many}\n~~~") == f"~~~text\n{many}\n~~~\n"


def test_code_in_the_live_area_is_wrapped() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=40, theme=THEME)
    lines = console.render_lines(RenderedBlock(Block(f"```\n{LONG}"), wraps_code=True))
    assert len(lines) > 6
    assert all(sum(part.cell_length for part in line) <= 40 for line in lines)


def test_control_characters_are_made_visible_or_removed() -> None:
    assert escape_controls("a\x1b[31mb\x07\x7f\tc\n\x00") == "a␛[31mb␇␡\tc\n␀"
    assert escape_controls("one\r\ntwo\rthree") == "one\ntwothree"
    assert escape_controls("\x9b31m\x85") == "\\x9b31m\\x85"
    assert one_line("a\nb\t c \x1b]0;x\x07") == "a b c ␛]0;x␇"
    assert escape_controls("Ünïcode ✓ 👍🏽 ‍") == "Ünïcode ✓ 👍🏽 ‍"
