"""Which rules may be offered for "always", so that a call like this one is not asked about again.

`decide` offers only those that would allow the call alone. Never offered are
rules for what can run anything: shells, interpreters, `sudo`, git without a subcommand, programs that are
named by a path, whose file a tool could change, and commands that the reader does not understand.
"""

from collections.abc import Iterator

from parley_daemon.core.agents.globs import has_wildcard, is_below, uri_of_path
from parley_daemon.core.agents.policy.commands import SimpleCommand, parse_command, remembered_prefix
from parley_daemon.core.agents.policy.matching import levels, words_of_rule
from parley_daemon.core.agents.policy.shell import quote_words, read_script
from parley_daemon.core.agents.rules import ChatFacts, Rule, RuleScope
from parley_daemon.core.agents.tools import Inspection, ToolKind

MAX_TEXT = 200
"""Characters of a command that is offered as it is."""


def offer_rules(chat: ChatFacts, tool: str, kind: ToolKind, call: Inspection) -> Iterator[Rule]:
    """Yield the rules that may be offered, the narrowest first. Their ids are empty."""
    if has_wildcard(tool):
        return
    if call.command is not None:
        yield from _for_command(chat, tool, call)
    elif call.host is not None and kind == "fetch":
        rule = Rule("", "allow", tool, hosts=(call.host,))
        yield from (_in_chat(rule, chat), rule)
    elif call.paths:
        yield from _for_paths(chat, tool, call)
    else:
        yield _in_chat(Rule("", "allow", tool), chat)


def _in_chat(rule: Rule, chat: ChatFacts) -> Rule:
    """Return a rule for the chat; that of a child is for the topmost chat, and so for all its children."""
    return _scoped(rule, RuleScope(chat_id=chat.above[-1] if chat.above else chat.chat_id))


def _scoped(rule: Rule, scope: RuleScope) -> Rule:
    return Rule(
        "",
        rule.effect,
        rule.tool,
        command=rule.command,
        paths=rule.paths,
        hosts=rule.hosts,
        exact=rule.exact,
        scope=scope,
    )


def _for_command(chat: ChatFacts, tool: str, call: Inspection) -> Iterator[Rule]:
    commands = [parse_command(words) for words in read_script(call.command or "").commands]
    if not commands or not all(_is_rememberable(level) for one in commands for level in levels(one)):
        return
    root = next((one for one in chat.roots if call.cwd is not None and is_below(call.cwd, one)), None)
    texts: dict[tuple[str, bool], None] = {}
    for one in commands:
        *_, innermost = levels(one)
        prefix = remembered_prefix(innermost.words)
        words = prefix or innermost.words
        text = quote_words(words)
        if len(text) <= MAX_TEXT and words_of_rule(text) == words:
            texts[text, prefix is None] = None
    for text, exact in texts:
        rule = Rule("", "allow", tool, command=text, exact=exact)
        yield _in_chat(rule, chat)
        if root is not None:
            yield _scoped(rule, RuleScope(root=uri_of_path(root)))


def _is_rememberable(command: SimpleCommand) -> bool:
    if command.inner is not None:
        return True
    return not command.is_opaque and not command.changes_folder and "/" not in command.words[0]


def _for_paths(chat: ChatFacts, tool: str, call: Inspection) -> Iterator[Rule]:
    paths = tuple(dict.fromkeys([use.path for use in call.paths]))
    if len(paths) <= 3 and not any(has_wildcard(path) or "\0" in path for path in paths):
        yield _in_chat(Rule("", "allow", tool, paths=paths), chat)
    roots = {use.root for use in call.paths}
    if len(roots) == 1 and (root := next(iter(roots))) is not None and not has_wildcard(root):
        everything = Rule("", "allow", tool, paths=("**",))
        yield _in_chat(everything, chat)
        yield _scoped(everything, RuleScope(root=uri_of_path(root)))
    elif len(paths) == 1 and not has_wildcard(paths[0]) and (folder := paths[0].rpartition("/")[0]):
        yield _in_chat(Rule("", "allow", tool, paths=(f"{folder}/**",)), chat)
