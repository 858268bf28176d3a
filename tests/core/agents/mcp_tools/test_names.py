"""Names of the tools of MCP servers: safe, unique, and the same whatever else there is."""

from fnmatch import fnmatchcase
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from parley_daemon.core.agents.mcp_tools.names import MAX_NAME, PREFIX, tool_name

SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
TEXTS = st.text(st.sampled_from("a_b-. é/"), max_size=70)


def name(server: str, tool: str) -> str:
    return tool_name(server, tool, lambda text: sha256(text.encode()).hexdigest())


def test_a_name_that_fits_is_used_as_it_is() -> None:
    assert name("github", "create_issue") == "mcp__github__create_issue"


def test_names_that_would_look_alike_are_told_apart() -> None:
    assert name("a__b", "c") != name("a", "b__c")
    assert name("a_", "b") != name("a", "_b")
    assert name("x", "read.file") != name("x", "read/file") != name("x", "read_file")


@given(TEXTS, st.sampled_from(["a", "a_b", "a-b", "server-" * 5]), TEXTS)
def test_a_pattern_for_the_tools_of_a_server_fits_no_other_one(other: str, server: str, tool: str) -> None:
    pattern = f"mcp__{server}__*"
    assert fnmatchcase(name(server, tool), pattern)
    assert fnmatchcase(name(other, tool), pattern) == (other == server)
    hashed = f"{server}_{sha256(b'other').hexdigest()[:10]}"
    assert not fnmatchcase(name(hashed, tool), f"mcp__{hashed}__*")
    for alike in (f"{server}.", f"{server}_", f"{server}__{tool}"):
        assert not fnmatchcase(name(alike, tool), pattern)


@given(st.lists(st.tuples(TEXTS, TEXTS), unique=True, max_size=20))
def test_every_name_is_safe_and_its_own(tools: list[tuple[str, str]]) -> None:
    names = [name(server, tool) for server, tool in tools]
    assert len(set(names)) == len(tools)
    for one in names:
        assert one.startswith(PREFIX)
        assert len(one) <= MAX_NAME
        assert SAFE.issuperset(one)
