"""Folders: every spelling of a URI is the same folder, and what is below one."""

import pytest

from parley_daemon.adapters.querying.folders import folder_key, folder_keys, is_within, range_below

SPELLINGS = [
    (
        "file:///home/ada",
        ["file:///home/ada/", "FILE:///home/ada", "file:/home/ada", "file://localhost/home/ada//"],
    ),
    ("file:///a b", ["file:///a%20b", "file:///a%20b/", "file:///%61%20b"]),
    ("file:///c:/x", ["file:///C:/x", "file:///c%3A/x/", "file:///C%3a/x"]),
    ("file:///c:", ["file:///C:/", "file:///c%3A"]),
    ("file://", ["file:///", "file:/"]),
    ("https://example.org/a", ["https://EXAMPLE.org/a/", "HTTPS://example.org/%61"]),
    ("untitled:one", ["untitled:one/", "UNTITLED:%6Fne"]),
]


@pytest.mark.parametrize(("key", "spellings"), SPELLINGS)
def test_every_spelling_of_a_folder_has_the_same_key(key: str, spellings: list[str]) -> None:
    assert folder_keys([*spellings, key]) == (key,)


@pytest.mark.parametrize(
    "uri",
    ["file:///home/Ada", "file:///home", "file://host/home/ada", "https://home/ada", "file:///home/ada2"],
)
def test_other_folders_have_other_keys(uri: str) -> None:
    assert folder_key(uri) != folder_key("file:///home/ada")


@pytest.mark.parametrize(
    ("uri", "within"),
    [
        ("file:///a", True),
        ("file:///a/", True),
        ("file:///a/b", True),
        ("file:///a/b/c/", True),
        ("file:///a%2Fb", True),
        ("file:///ab", False),
        ("file:///a-b", False),
        ("file:///a.b", False),
        ("file:///a0", False),
        ("file:///", False),
        ("file:///b/a", False),
    ],
)
def test_a_folder_is_within_those_above_it_and_itself(uri: str, within: bool) -> None:
    key, folder = folder_key(uri), folder_key("file:///a/")
    first, after = range_below(folder)
    assert is_within(key, folder) is within
    assert (key == folder or first <= key < after) is within
    assert is_within(key, folder_key("file:///"))
