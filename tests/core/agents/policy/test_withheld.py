"""What a search leaves out, against what the policy says of each file by itself."""

from itertools import product

from parley_daemon.core.agents.globs import matches_any
from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.policy.withheld import withheld_globs
from parley_daemon.core.agents.rules import ChatFacts, Rule, RuleScope
from parley_daemon.core.agents.tools import Inspection, PathUse

CHAT = ChatFacts("c", "auto", ("/srv/.env/app",), True, "bwrap", False, "2026-01-01T00:00:00.000Z")
ROOT = CHAT.roots[0]
FILES = (".env", "sub/.ENV", "keys/a.pem", "src/gen/x.py", "src/main.py")
PATTERNS = (".env", "*.pem", "src/gen", "src/**", "**", "*", f"{ROOT}/keys", "~/x", "src/*/x.py")
SCOPES = (RuleScope(), RuleScope(root=f"file://{ROOT}"), RuleScope(root=f"file://{ROOT}/sub"))


def test_a_file_is_left_out_exactly_if_reading_it_would_be_denied_or_asked_about() -> None:
    for pattern, scope, name in product(PATTERNS, SCOPES, FILES):
        rules = (Rule("1", "deny", "*", paths=(pattern,), scope=scope),)
        path = f"{ROOT}/{name}"
        call = Inspection("", paths=(PathUse(path, "read", "root", ROOT),))
        denied = decide(rules, CHAT, "search_text", "read", call).decision == "deny"
        globs = [one for one in withheld_globs(rules, CHAT, "search_text") if not matches_any((one,), ROOT)]
        folder = Inspection("", paths=(PathUse(ROOT, "read", "root", ROOT),))
        if decide(rules, CHAT, "search_text", "read", folder).decision == "allow":
            assert matches_any(globs, path) == denied, (pattern, scope, name)


def test_only_rules_count_that_deny_or_ask_about_paths_for_this_tool_now() -> None:
    rules = (
        Rule("1", "allow", "*", paths=("a",)),
        Rule("2", "deny", "edit_*", paths=("b",)),
        Rule("3", "ask", "search_*", paths=("C",)),
        Rule("4", "deny", "*", paths=("d",), expires_at="2025-01-01T00:00:00.000Z"),
        Rule("5", "deny", "*", paths=("e",), scope=RuleScope(chat_id="other")),
        Rule("6", "deny", "*", command="cat", paths=("f",)),
    )
    assert withheld_globs(rules, CHAT, "search_text") == (f"{ROOT}/**/c", "/**/c")
