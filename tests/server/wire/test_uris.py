"""Which URIs name the same document, and where a file is on this machine."""

import pytest

from parley_daemon.server.wire.uris import document_key, file_name, local_path

SAME = [
    [
        "file:///a/b%20c/(x).py",
        "file:///a/b%20c/%28x%29.py",
        "file:///a/b%20c/%28x).py",
        "FILE:///a/b%20c/(x).py",
    ],
    ["file:///a/[id].ts", "file:///a/%5Bid%5D.ts", "file:///a/%5bid%5d.ts"],
    [
        "file:///~/x",
        "file:///%7E/x",
        "file:///%7e/x",
        "file://localhost/~/x",
        "file:/~/x",
        "file://LOCALHOST/%7Ex/../~/x",
    ],
    ["file:///c:/x.cs", "file:///C:/x.cs", "file:///c%3A/x.cs", "file:///C%3a/x.cs"],
    ["file:///d:", "file:///D%3A"],
    ["file:///a/%C3%A9/ü", "file:///a/%c3%a9/%C3%BC"],
    ["file:///a/b", "file:///a//b", "file:///a/./b", "file:///a/c/../b", "file:///a%2Fb", "file:///a/b/"],
    ["file://server/share/x", "file://SERVER/share/x"],
    ["untitled:Untitled-1", "untitled:Untitled%2D1", "Untitled:Untitled-1"],
    ["zipfile:///a.zip::x(1)", "zipfile:///a.zip::x%281%29"],
]


@pytest.mark.parametrize("spellings", SAME, ids=[spellings[0] for spellings in SAME])
def test_all_spellings_of_a_uri_are_one_document(spellings: list[str]) -> None:
    assert len({document_key(uri) for uri in spellings}) == 1


def test_different_documents_differ() -> None:
    firsts = [spellings[0] for spellings in SAME]
    others = [
        "file:///A/b",
        "file:///a/B",
        "file:///a/%FF",
        "file:///a/%FE",
        "file:///a/%EF%BF%BD",
        "untitled:untitled-1",
        "vscode-remote:///a/b",
        "file://other/share/x",
        "file://[",
        "file:///a/c%253A",
    ]
    uris = firsts + others
    assert len({document_key(uri) for uri in uris}) == len(uris)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/%28x%29%5b1%5D~.py", "/a/(x)[1]~.py"),
        ("file://localhost/a", "/a"),
        ("file:/a", "/a"),
        ("File:///a", "/a"),
        ("file:///a/%ff", "/a/\udcff"),
        ("file://server/a", None),
        ("https://example.org/a", None),
        ("file:///a%00b", None),
        ("file://[", None),
    ],
)
def test_the_path_of_a_file_is_decoded(uri: str, path: str | None) -> None:
    assert local_path(uri) == path


def test_the_name_of_a_file_can_be_sent() -> None:
    assert file_name("file:///a/%28x%29.py") == "(x).py"
    assert file_name("file:///a/b/") == "b"
    file_name("file:///a/%ff").encode()
