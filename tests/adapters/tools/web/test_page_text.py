"""HTML as readable text, also of pages that are made to keep a parser busy."""

import pytest

from parley_daemon.adapters.tools.web.page_text import read_page

ADDRESS = "https://example.org/docs/index.html"


def text(source: str) -> str:
    return read_page(source, ADDRESS)[1]


def test_headings_lists_links_tables_and_code_look_as_in_markdown() -> None:
    source = """<!DOCTYPE html><html><head><title> The
        page </title><style>p { color: red }</style></head><body><h2>Install</h2>
        <p>Read <a href="../guide?a=1&amp;b=2">the <b>guide</b></a>, <a href="#top">top</a>,
        <a href="javascript:alert(1)">run</a> or <img src=x alt="a chart">.<br>Next line
        <ul><li>one</li><li>two <ul><li>inner</ul></ul>
        <table><tr><th>Name<th>Size<tr><td>a</td><td></td><td>3</td></table>
        <pre><code>if a &lt; b:
    return &quot;x&quot;</code></pre><!-- no --><script>if (a < b) document.write("</p>")</script>done"""
    assert read_page(source, ADDRESS) == (
        "The page",
        """## Install

Read [the guide](https://example.org/guide?a=1&b=2), top, run or [image: a chart].
Next line

- one
- two

- inner

Name | Size
a | | 3

```
if a < b:
    return "x"
```

done""",
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b and b > c", "a < b and b > c"),
        ("<p>1 <2", "1 <2"),
        ('<a href="never closed>text', ""),
        ("before<script>never closed", "before"),
        ("before<!-- never closed", "before"),
        ("<SCRIPT>x</scripty></Script >after", "after"),
        ("</p x='>'>text</", "text"),
        ("<?php echo 1 ?>text", "text"),
        ("&amp;lt; &nbsp; &#0; &bogus;", "&lt; \ufffd &bogus;"),
        ("<a href='http://[x'>bad</a>", "bad"),
    ],
)
def test_markup_that_is_broken_ends_where_browsers_end_it(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.timeout(60)
def test_a_hostile_page_takes_time_by_its_length_only() -> None:
    units = '<|<a|<a |<a "|<!--|<!|</|</a|<script>|<title>|</script|<td> |<a href=x>|&a|<pre>\n|<li>|</a>'
    for unit in units.split("|"):
        read_page(unit * (2**18 // len(unit)), ADDRESS)


def test_a_page_of_links_is_read_until_there_is_enough() -> None:
    source = "<a href=x>text" * 50_000
    _, text = read_page(source, f"http://example.org/{'a/' * 400}", enough=10_000)
    assert 10_000 < len(text) < 12_000
    assert text.startswith("[text](http://example.org/a/a/")
    # An address that is longer than a link may be is left out.
    assert read_page(source, f"http://example.org/{'a/' * 4_000}")[1].startswith("texttext")


def test_the_number_of_a_character_can_have_any_number_of_digits() -> None:
    assert read_page(f"<title>&#{'9' * 5_000};</title>&#{'9' * 5_000}; &lt;", "http://x.org")[1].endswith(
        "; &lt;"
    )
