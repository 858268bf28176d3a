"""What a search leaves out, against what the policy says of each file by itself."""

from itertools import product

from msgspec.structs import replace

from parley_daemon.core.agents.globs import matches_any
from parley_daemon.core.agents.permissions import decide
from parley_daemon.core.agents.policy.withheld import denied_globs, withheld_globs
from parley_daemon.core.agents.rules import UNTRUSTED, ChatFacts, DeniedGlob, Rule, RuleScope
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


def test_what_is_denied_to_any_tool_is_kept_from_commands() -> None:
    inner = RuleScope(root=f"file://{ROOT}/sub")
    rules = (
        Rule("1", "deny", "*", paths=("*.PEM",)),
        Rule("2", "deny", "read_file", paths=("src/gen", f"{ROOT}/x/**/y")),
        Rule("3", "deny", "edit_*", paths=("*.lock",)),
        Rule("4", "deny", "*", paths=("key",), scope=inner, source=UNTRUSTED),
        Rule("5", "deny", "*", paths=("d",), expires_at="2025-01-01T00:00:00.000Z"),
        Rule("6", "deny", "*", paths=("e",), scope=RuleScope(chat_id="other")),
        Rule("7", "deny", "*", command="cat", paths=("f",)),
        Rule("8", "ask", "*", paths=("g",)),
    )
    assert denied_globs(rules, CHAT) == (
        DeniedGlob(f"{ROOT}/**/*.pem", "*.pem"),
        DeniedGlob(f"{ROOT}/src/gen"),
        DeniedGlob(f"{ROOT}/x/**/y"),
        DeniedGlob(f"{ROOT}/**/*.lock", "*.lock", is_readable=True),
        # If the folder of the rule were renamed, the rule would not count there.
        DeniedGlob(f"{ROOT}/sub/**/key"),
    )


def test_a_command_that_could_use_what_is_denied_does_not_run_unasked() -> None:
    call = Inspection("Run", command="cat x && ls", cwd=ROOT, exposed=".env")
    rules = (Rule("1", "allow", "run", command="cat"), Rule("2", "allow", "run", command="ls"))
    sentence = "Rules deny .env, and the sandbox cannot keep the command from it."
    for mode in ("ask", "edits", "auto"):
        found = decide(rules, replace(CHAT, mode=mode), "run", "execute", call)
        assert (found.decision, found.why, found.rememberable) == ("ask", sentence, ())
        assert [one.decision for one in found.commands] == ["ask", "ask"]
    unread = replace(call, command="cat $X")
    found = decide((), CHAT, "run", "execute", unread)
    assert (found.decision, found.why) == ("ask", sentence)
    asked = decide((), replace(CHAT, mode="ask"), "run", "execute", call)
    assert (asked.decision, asked.why.endswith(sentence), asked.rememberable) == ("ask", True, ())
    denied = decide((Rule("3", "deny", "run", command="ls"),), CHAT, "run", "execute", call)
    assert denied.decision == "deny"
    alone = decide(rules, replace(CHAT, interactive=False), "run", "execute", call)
    assert (alone.decision, sentence in alone.why) == ("deny", True)
