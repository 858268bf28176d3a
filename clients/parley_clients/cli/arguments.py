"""The arguments and options of `parley` and of each of its commands."""

import argparse
from collections.abc import Callable

from parley_clients.cli.parser import Parser
from parley_protocol.version import VERSION

AddCommand = Callable[[str, str, str], Parser]
"""Adds a command: its name, its function ("module:function" in `commands`, or in a named package), and a line
of help."""


AGENT_MODES = ("ask", "plan", "edits", "auto", "off")
"""What a model may do in a chat; the first one is that of --agent without a mode."""

_MAX_DIGITS = 15


def make_parser() -> Parser:
    """Return the parser of the command line. `run` of its result is the function of the command."""
    shared = _shared_options()
    parser = Parser(
        prog="parley",
        description="Talk to AI models through the parleyd daemon.",
        parents=[_shared_options(with_defaults=True)],
    )
    parser.add_argument("--version", action="version", version=f"parley {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add_command(name: str, run: str, help: str) -> Parser:
        description = f"{help[0].upper()}{help[1:]}."
        command = commands.add_parser(name, parents=[shared], help=help, description=description)
        command.set_defaults(run=run if "." in run else f"commands.{run}")
        return command

    _add_conversations(add_command)
    _add_listings(add_command)
    _add_turns(add_command)
    _add_branches(add_command)
    _add_collection(add_command)
    _add_providers(add_command)
    _add_permissions(add_command)
    completion = add_command(
        "completion", "completion:print_script", "print the completion script of a shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")
    return parser


def _shared_options(*, with_defaults: bool = False) -> Parser:
    """Return the options that are accepted before and after the command."""
    none = None if with_defaults else argparse.SUPPRESS
    off = False if with_defaults else argparse.SUPPRESS
    shared = Parser(add_help=False)
    group = shared.add_argument_group("daemon and display")
    address = group.add_mutually_exclusive_group()
    address.add_argument("--socket", metavar="PATH", help="use the daemon on this Unix socket", default=none)
    address.add_argument("--tcp", metavar="HOST:PORT", help="use the daemon at this address", default=none)
    group.add_argument("--token", help="the token for --tcp (PARLEY_TOKEN)", default=none)
    group.add_argument(
        "--data-dir", metavar="DIR", help="use the daemon of this data directory", default=none
    )
    group.add_argument("--plain", action="store_true", help="print plain text, draw nothing", default=off)
    group.add_argument("--no-color", action="store_true", help="use no colours (NO_COLOR)", default=off)
    return shared


def _number(text: str) -> int:
    """Return the number that a word is, for `type=`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number: {text!r}")
    if len(text) > _MAX_DIGITS:
        raise argparse.ArgumentTypeError(f"too large: {text[:20]}")
    return int(text)


def _id(text: str) -> str:
    """Return an id, for `type=`: an empty one, such as that of an unset variable, does not stand for none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the id is empty")
    return text


def _add_json(command: Parser, output: str) -> None:
    command.add_argument("--json", action="store_true", help=f"print {output}")


def _add_files(command: Parser) -> None:
    command.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        dest="files",
        help="send a file: an image, audio, video, a PDF, or text with its name; can be given again",
    )


def _add_model(command: Parser, help: str = "the model to use") -> None:
    command.add_argument("--model", metavar="PROVIDER:MODEL", help=help)


def _add_settings(command: Parser, help: str) -> None:
    command.add_argument(
        "-o", "--option", action="append", default=[], metavar="NAME=VALUE", dest="settings", help=help
    )


def _add_agent(command: Parser, help: str) -> None:
    command.add_argument(
        "--agent", nargs="?", const="ask", choices=AGENT_MODES, metavar="MODE", dest="agent", help=help
    )


def _add_schema(command: Parser) -> None:
    command.add_argument(
        "--schema",
        metavar="FILE",
        help="a JSON Schema that the answer must match (a file, or the schema itself); prints the value",
    )


def _add_answer_format(command: Parser) -> None:
    format = command.add_mutually_exclusive_group()
    format.add_argument("-x", "--code", action="store_true", help="print only the code blocks of the answer")
    format.add_argument("--json", action="store_true", help="print each event as a line of JSON")


def _add_chat(command: Parser) -> None:
    """Add the chat of a command: an id, or --last. `options.chat_and_rest` splits the words."""
    command.add_argument("id", nargs="?", metavar="ID", help="the chat")
    command.add_argument("--last", action="store_true", help="the chat that was used last, instead of ID")


def _add_conversations(add: AddCommand) -> None:
    ask = add("ask", "ask:ask", "ask one question and show the answer while it is written")
    ask.add_argument(
        "text", nargs="*", metavar="TEXT", help="the question; - before or after it adds standard input"
    )
    where = ask.add_mutually_exclusive_group()
    where.add_argument("--chat", type=_id, metavar="ID", help="ask in this chat")
    where.add_argument("--last", action="store_true", help="ask in the chat that was used last")
    where.add_argument("--new", action="store_true", help="ask in a new chat (the default)")
    _add_model(ask)
    ask.add_argument("--system", metavar="TEXT", help="the system prompt of the new chat")
    _add_files(ask)
    _add_agent(
        ask,
        "let the model use tools in this folder, as far as --agent=plan, ask, edits or auto does unasked",
    )
    _add_settings(ask, "a setting of the new chat, or of this turn; can be given again")
    _add_schema(ask)
    _add_answer_format(ask)

    chat = add("chat", "conversation.start:chat", "start a conversation, in a new or an existing chat")
    chat.add_argument("id", nargs="?", type=_id, metavar="ID", help="the chat to continue")
    chat.add_argument("--last", action="store_true", help="continue the chat that was used last")
    _add_model(chat, "set the model of the chat")
    chat.add_argument("--system", metavar="TEXT", help="the system prompt of the new chat")
    _add_files(chat)
    _add_agent(chat, "let the model use tools in this folder: --agent=ask (the default), plan, edits or auto")
    _add_settings(chat, "a setting of the new chat; can be given again")


def _add_listings(add: AddCommand) -> None:
    listing = add("list", "listing:list_chats", "list chats, last used first")
    listing.add_argument("--query", metavar="TEXT", help="only chats with this text in the title")
    listing.add_argument("--archived", action="store_true", help="only archived chats")
    listing.add_argument("--pinned", action="store_true", help="only pinned chats")
    listing.add_argument("--limit", type=_number, default=50, metavar="N", help="the number of chats (50)")
    _add_json(listing, "each chat as a line of JSON")

    show = add("show", "show:show", "print the messages of a chat")
    _add_chat(show)
    show.add_argument(
        "--ids", action="store_true", help="print the number of each message, for edit, rewind and so on"
    )
    _add_json(show, "the chat as JSON")

    attach = add("attach", "attach:attach", "follow a chat live; Ctrl-C stops following, not the chat")
    _add_optional_chat(attach)
    attach.add_argument(
        "--tail", type=_number, default=10, metavar="N", help="the number of earlier messages to show (10)"
    )
    _add_json(attach, "the snapshot and each event as a line of JSON")

    search = add("search", "search:search", "find messages by their text, and chats by their titles")
    search.add_argument(
        "words", nargs="+", metavar="WORD", help='words, "a phrase"; after --, also -words to exclude'
    )
    search.add_argument("--limit", type=_number, default=20, metavar="N", help="the number of hits (20)")
    _add_json(search, "each hit as a line of JSON")

    models = add("models", "listing:list_models", "list the available models")
    models.add_argument("words", nargs="*", metavar="WORD", help="only models with all of these in the name")
    _add_json(models, "the models as JSON")

    _add_json(add("status", "listing:show_status", "print the status of the running daemon"), "it as JSON")


def _add_turns(add: AddCommand) -> None:
    edit = add("edit", "edit_retry:edit", "replace a question and show the new answer; this clears the queue")
    _add_chat(edit)
    edit.add_argument(
        "text", nargs="*", metavar="TEXT", help="the new question; - before or after it adds standard input"
    )
    edit.add_argument("--message", type=_number, metavar="N", help="the question (default: the last one)")
    _add_model(edit)
    _add_files(edit)
    _add_answer_format(edit)

    retry = add("retry", "edit_retry:retry", "get another answer to a question")
    _add_chat(retry)
    retry.add_argument("message", nargs="?", metavar="MESSAGE", help="the question (default: the last one)")
    _add_model(retry)
    _add_settings(retry, "a setting of this turn; can be given again")
    _add_schema(retry)
    _add_answer_format(retry)

    queue = add("queue", "queue:queue", "list or change the queue of a chat")
    queue.add_argument("id", metavar="ID")
    queue.add_argument(
        "action",
        nargs="?",
        choices=("list", "rm", "promote", "edit"),
        default="list",
        help="rm: remove a message; promote: run it now; edit: change its text",
    )
    queue.add_argument(
        "message",
        nargs="?",
        metavar="N",
        help="the position of the message in the queue, or a part of its id (at least 4 characters)",
    )
    queue.add_argument("text", nargs="*", metavar="TEXT", help="the new text, for edit")
    _add_json(queue, "each queued message as a line of JSON")

    compact = add("compact", "collection:compact", "let the model summarise a chat for its later model calls")
    compact.add_argument("id", metavar="ID")
    _add_json(compact, "the message with the summary as JSON")


def _add_optional_chat(parser: Parser) -> None:
    parser.add_argument(
        "id", nargs="?", type=_id, metavar="ID", help="the chat (default: the one that was used last)"
    )


def _add_branches(add: AddCommand) -> None:
    branch = add("branch", "branches:branch", "list the branches of a chat, or switch to one")
    branch.add_argument("id", metavar="ID")
    branch.add_argument(
        "message", type=_number, nargs="?", metavar="MESSAGE", help="a message of the branch to switch to"
    )
    _add_json(branch, "each position with alternatives as a line of JSON")

    rewind = add("rewind", "branches:rewind", "end a chat at a message; later messages stay on a branch")
    rewind.add_argument("id", metavar="ID")
    rewind.add_argument(
        "message",
        type=_number,
        nargs="?",
        metavar="MESSAGE",
        help="the last message (default: the one before the last question)",
    )
    _add_json(rewind, "the chat as JSON")

    checkpoints = add("checkpoints", "undo:checkpoints", "list what tools changed in files, turn by turn")
    _add_optional_chat(checkpoints)
    _add_json(checkpoints, "each checkpoint as a line of JSON")

    undo = add("undo", "undo:undo", "take back what a turn changed in files")
    _add_optional_chat(undo)
    undo.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="its position in parley checkpoints, or a part of its id (default: the newest turn)",
    )
    undo.add_argument("--dry-run", action="store_true", help="change nothing, only say what would be done")
    undo.add_argument(
        "-f", "--file", action="append", default=[], metavar="FILE", help="only this file or folder"
    )
    undo.add_argument(
        "--force", action="store_true", help="restore the files of -f even if they have changed since"
    )
    _add_json(undo, "the result as JSON")

    diff = add("diff", "diff:diff", "print what has changed in the folders of a chat, as a diff")
    _add_optional_chat(diff)
    diff.add_argument("paths", nargs="*", metavar="PATH", help="only these files and folders")
    diff.add_argument(
        "--from",
        type=_number,
        dest="first",
        metavar="MESSAGE",
        help="only what tools have changed from this message on (parley show --ids)",
    )
    _add_json(diff, "the diff as JSON")

    fork = add("fork", "collection:fork", "copy a chat, up to a message, into a new one and print its id")
    fork.add_argument("id", metavar="ID")
    fork.add_argument("message", type=_number, nargs="?", metavar="MESSAGE", help="the last message to copy")
    _add_json(fork, "the new chat as JSON")


def _add_collection(add: AddCommand) -> None:
    for name, help in (
        ("archive", "archive chats: they can be read, and accept no messages"),
        ("unarchive", "unarchive chats"),
        ("pin", "pin chats: a mark, and a filter of list"),
        ("unpin", "unpin chats"),
    ):
        command = add(name, f"collection:{name}", help)
        command.add_argument("ids", nargs="+", metavar="ID")
        _add_json(command, "each chat as a line of JSON")

    delete = add("delete", "collection:delete", "delete chats permanently")
    delete.add_argument("ids", nargs="+", metavar="ID")
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    export = add("export", "collection:export", "write a chat as Markdown, or as JSON to import again")
    export.add_argument("id", metavar="ID")
    export.add_argument(
        "--format", choices=("md", "json"), help="the format (default: json for a FILE named *.json, else md)"
    )
    export.add_argument("-o", "--output", metavar="FILE", help="the file (default: standard output)")

    import_ = add(
        "import", "collection:import_chat", "create a chat from an exported JSON file and print its id"
    )
    import_.add_argument("file", metavar="FILE", help="the file; - reads standard input")
    import_.add_argument(
        "--merge", action="store_true", help="add missing messages to the exported chat, if it still exists"
    )
    _add_json(import_, "the chat as JSON")


def _add_providers(add: AddCommand) -> None:
    providers = add("providers", "providers:list_providers", "list the providers and their configuration")
    providers.add_argument("--all", action="store_true", help="also providers that are not configured")
    _add_json(providers, "the providers as JSON")

    provider = add("provider", "providers:configure_provider", "configure or check a provider")
    provider.add_argument(
        "action",
        choices=("add", "set", "rm", "check"),
        help="add, change or remove its configuration; check: send a request and show the response",
    )
    provider.add_argument("name", metavar="PROVIDER", help="its name, the first part of its models' names")
    provider.add_argument("--type", metavar="TYPE", help="such as openai-compat (default: its name)")
    provider.add_argument("--url", metavar="URL", help="its address; '' for the default address")
    provider.add_argument("--title", metavar="TEXT", help="its display name")
    key = provider.add_mutually_exclusive_group()
    key.add_argument(
        "--key", action="store_true", help="read its API key from the terminal or standard input"
    )
    key.add_argument("--no-key", action="store_true", help="remove its API key")
    provider.add_argument("--switch", choices=("on", "off"), help="enable or disable it")
    _add_json(provider, "the result as JSON")

    model = add("model", "providers:configure_model", "list or change the configuration of models")
    model.add_argument(
        "action",
        nargs="?",
        choices=("list", "set", "rm"),
        default="list",
        help="list the configured models; configure or change one; remove one",
    )
    model.add_argument("id", nargs="?", metavar="PROVIDER:MODEL", help="the model; for list, a provider")
    model.add_argument("--title", metavar="TEXT", help="its display name")
    model.add_argument(
        "--context-limit", type=_number, metavar="N", help="the size of its context window, in tokens"
    )
    model.add_argument("--switch", choices=("on", "off"), help="enable or disable it")
    model.add_argument("--default", action="store_true", help="make it the default model of new chats")
    _add_json(model, "each model as a line of JSON")


def _add_permissions(add: AddCommand) -> None:
    rules = add("permission", "permissions:permission", "list or change the rules of what models may do")
    rules.add_argument(
        "action",
        nargs="?",
        choices=("list", "add", "remove", "explain"),
        default="list",
        help="explain: say what would become of a tool call, without running it",
    )
    rules.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="list: [CHAT]; add: allow|ask|deny [TOOL]; remove: ID...; explain: CHAT TOOL ARGUMENTS (JSON)",
    )
    rules.add_argument(
        "--command", metavar="TEXT", dest="rule_command", help="add: the beginning of a shell command"
    )
    rules.add_argument("--exact", action="store_true", help="add: --command is the whole command")
    lists = {
        "path": ("paths", "GLOB", "add: paths that the rule is about; can be given again"),
        "host": ("hosts", "GLOB", "add: hosts that the rule is about; can be given again"),
        "match": ("match", "TEXT", "add: an example that the rule has to match; can be given again"),
        "not-match": ("not_match", "TEXT", "add: an example that it must not match; can be given again"),
    }
    for name, (dest, metavar, help) in lists.items():
        rules.add_argument(f"--{name}", action="append", default=[], metavar=metavar, dest=dest, help=help)
    rules.add_argument(
        "--network",
        choices=("loopback", "all"),
        help="add: what the command reaches, where the sandbox gives less",
    )
    rules.add_argument("--human", action="store_true", help="add ask: only a person may allow it")
    where = rules.add_mutually_exclusive_group()
    where.add_argument("--chat", type=_id, metavar="ID", help="add: only in this chat")
    where.add_argument("--root", metavar="FOLDER", help="add: only below this folder")
    rules.add_argument("--until", metavar="TIME", help="add: until when it counts, as 2026-12-24T18:00:00Z")
    _add_json(rules, "the result as JSON")

    _add_servers(add)
    trust = add("trust", "permissions:trust", "show or trust the rules and instructions of a project")
    trust.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="the folder (default: this)")
    answer = trust.add_mutually_exclusive_group()
    answer.add_argument("--yes", action="store_true", help="trust the files exactly as they are now")
    answer.add_argument("--withdraw", action="store_true", help="trust them no more")
    _add_json(trust, "the files as JSON")


def _add_servers(add: AddCommand) -> None:
    servers = add("mcp", "mcp:mcp", "list or change the MCP servers that chats use")
    servers.add_argument(
        "action",
        nargs="?",
        choices=("list", "add", "update", "remove", "restart", "auth"),
        default="list",
        help="restart: start it now; auth: print the page on which a person authorizes it",
    )
    servers.add_argument(
        "words", nargs="*", metavar="WORD", help="the name of the server; add, update: NAME [-- COMMAND...]"
    )
    servers.add_argument("--url", metavar="URL", help="add, update: the address of a server on HTTP")
    lists = {
        "env": ("env", "NAME[=VALUE]", "a variable; without a value, that of this environment"),
        "header": ("headers", "NAME[=VALUE]", "a header; without a value, it is asked for"),
        "no-env": ("no_env", "NAME", "a variable to remove"),
        "no-header": ("no_headers", "NAME", "a header to remove"),
    }
    for name, (dest, metavar, help) in lists.items():
        servers.add_argument(
            f"--{name}", action="append", default=[], metavar=metavar, dest=dest, help=f"add, update: {help}"
        )
    servers.add_argument("--cwd", metavar="FOLDER", help="add, update: the folder of the process")
    where = servers.add_mutually_exclusive_group()
    where.add_argument("--chat", type=_id, metavar="ID", help="servers of this chat; add: only for it")
    where.add_argument(
        "--root", metavar="FOLDER", help="servers of this folder; add: only for chats below it"
    )
    _add_json(servers, "the result as JSON")
