"""Resources that a text names: "@server:uri" of a known server, without the punctuation of the sentence."""

import pytest

from parley_clients.cli.mentions import find_mentions


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("look at @docs:file:///guide.md.", ["@docs:file:///guide.md"]),
        ("(see @docs:a_(b)) and @docs:c, twice @docs:c", ["@docs:a_(b)", "@docs:c"]),
        ("@docs:x?\n@docs:y\n", ["@docs:x", "@docs:y"]),
        ("@media:screen is CSS, ada@docs:x an address, (@docs:x) has no space before it", []),
        ("@docs: and @docs:... name nothing", []),
    ],
)
def test_only_resources_of_the_servers_are_found(text: str, found: list[str]) -> None:
    assert find_mentions(text, {"docs"}) == found


def test_without_servers_all_that_may_be_one_is_found() -> None:
    assert find_mentions("@media:screen") == ["@media:screen"]
