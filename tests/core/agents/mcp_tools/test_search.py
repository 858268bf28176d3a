"""The search for tools by words."""

from parley_daemon.core.agents.mcp_tools.search import SearchedTool, search_tools, split_words

TOOLS = (
    SearchedTool("mcp__github__create_issue", "github Create issue", "Open an issue in a repository."),
    SearchedTool("mcp__github__listPulls", "github List", "List the pull requests of a repository."),
    SearchedTool("mcp__mail__send", "mail Send", "Send a message. It can be about an issue."),
    SearchedTool("mcp__maps__route", "maps Route", "Find the way between two places."),
)


def test_words_are_split_at_signs_and_humps() -> None:
    assert list(split_words("listPulls, HTTPServer_issues 2nd class")) == [
        "list", "pull", "httpserver", "issue", "2nd", "class",
    ]  # fmt: skip


def test_a_word_in_a_name_counts_more_than_one_in_a_description() -> None:
    assert search_tools("issues", TOOLS, 5) == ("mcp__github__create_issue", "mcp__mail__send")


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    assert search_tools("pull of a repository", TOOLS, 1) == ("mcp__github__listPulls",)


def test_a_tool_that_is_named_comes_first() -> None:
    assert search_tools("mcp__maps__route issue", TOOLS, 2)[0] == "mcp__maps__route"


def test_what_fits_nothing_finds_nothing() -> None:
    assert search_tools("quantum", TOOLS, 5) == ()
    assert search_tools("…", TOOLS, 5) == ()
