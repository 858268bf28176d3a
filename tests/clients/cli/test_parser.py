"""Options and other words of a command in any order."""

import pytest

from parley_clients.cli.arguments import make_parser


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("edit abcd --message 2 new text", "text", ["new", "text"]),
        ("edit --message 2 abcd new text", "text", ["new", "text"]),
        ("ask one -f a.txt - --model demo:demo", "text", ["one", "-"]),
        ("ask one -xf a.txt two", "text", ["one", "two"]),
        ("ask one -fa.txt two --sys=s three", "text", ["one", "two", "three"]),
        ("ask one --syst s two", "text", ["one", "two"]),
        ("ask -1 -x -.5", "text", ["-1", "-.5"]),
        ("ask a -x -- -f b", "text", ["a", "-f", "b"]),
        ("ask -- -x", "text", ["-x"]),
        ("retry abcd --model demo:demo 3", "message", "3"),
        ("queue abcd --json rm 7", "message", "7"),
        ("archive abcd --json efgh", "ids", ["abcd", "efgh"]),
        ("search a --limit 3 -- -b", "words", ["a", "-b"]),
        ("ask --agent mend it", "text", ["mend", "it"]),
        ("ask --agent mend it", "agent", "ask"),
        ("ask mend --agent=plan it", "text", ["mend", "it"]),
        ("ask mend --agent=plan it", "agent", "plan"),
        ("chat --agent abcd", "id", "abcd"),
        ("ask --agent -- plan", "text", ["plan"]),
        ("ask plan", "agent", None),
    ],
)
def test_words_after_an_option_belong_to_the_words_before_it(line: str, name: str, expected: object) -> None:
    assert getattr(make_parser().parse_args(line.split()), name) == expected


def test_a_word_with_a_space_is_no_option() -> None:
    assert make_parser().parse_args(["ask", "-x", "- one\n- two"]).text == ["- one\n- two"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ask hi --banana", "unrecognized arguments: --banana"),
        ("edit --last --message", "argument --message: expected one argument"),
        ("ask --model -x hi", "argument --model: expected one argument"),
        ("ask --last --chat abcd hi", "argument --chat: not allowed with argument --last"),
        ("list --limit 99999999999999999999", "argument --limit: too large: 99999999999999999999"),
        ("show a b", "unrecognized arguments: b"),
        ("ask --agent plan hi", "write --agent=plan"),
        ("ask --agent=all hi", "argument --agent: invalid choice: 'all'"),
    ],
)
def test_errors_are_still_reported(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(line.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["ask", "--chat", "", "hi"], ["chat", ""], ["attach", " "]])
def test_an_empty_id_does_not_stand_for_no_id(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(words)
    assert "the id is empty" in capsys.readouterr().err
