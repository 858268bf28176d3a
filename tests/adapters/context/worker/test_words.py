"""How texts and questions become words."""

from parley_daemon.adapters.context.worker.words import Question, index_text, split_identifier


def test_identifiers_are_found_by_their_parts_and_as_a_whole() -> None:
    assert split_identifier("readHTTPFile_v2") == ("read", "HTTP", "File", "v2")
    assert split_identifier("plain") == ()
    assert index_text("x = readFile(a_b)") == "x = readFile(a_b)\nread File a b"


def test_a_question_becomes_quoted_words_without_those_that_say_nothing() -> None:
    question = Question('Where is "NEAR" OR the readFile* handled?')
    assert question.terms == ('"near"', '"readfile"', '"read"', '"handled"')
    assert question.named == {"readfile"}
    assert Question("the and").terms == ('"the"', '"and"')
    assert Question("\0\ud800 *").terms == ()
    assert Question("東京塔").terms == ('"東 京"', '"京 塔"')
