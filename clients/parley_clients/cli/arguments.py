"""The commands that change a chat, its queue or the library of chats: what they are called and take."""

import argparse
from collections.abc import Callable


class Parser(argparse.ArgumentParser):
    """An argument parser that can be asked what it takes: the completion of shells needs that."""

    @property
    def actions(self) -> list[argparse.Action]:
        """All options and arguments, in the order of the help."""
        return self._actions


def count(text: str) -> int:
    """Return the number that a word is, for `type=`."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number: {text!r}")
    return int(text)


def add_commands(add: Callable[[str, str, str], Parser]) -> None:
    """Add the commands; `add` takes a name, where the function is, and a line of help."""
    _add_turns(add)
    _add_branches(add)
    _add_library(add)
    _add_providers(add)
    completion = add("completion", "completion:completion", "print the completion script of a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


def _add_turns(add: Callable[[str, str, str], Parser]) -> None:
    edit = add(
        "edit", "edit_retry:edit", "ask a question differently and show the answer; what waits is dropped"
    )
    edit.add_argument("id", metavar="ID")
    edit.add_argument("text", nargs="+", metavar="TEXT", help="the new question; - reads standard input")
    edit.add_argument(
        "--message", type=count, metavar="N", help="the message to say differently (the last question)"
    )
    edit.add_argument("--model", metavar="PROVIDER:MODEL", help="the model to ask")
    edit.add_argument("--json", action="store_true", help="print every event as a line of JSON")

    retry = add("retry", "edit_retry:retry", "get another answer to a question")
    retry.add_argument("id", metavar="ID")
    retry.add_argument(
        "message", type=count, nargs="?", metavar="MESSAGE", help="the question (the last one)"
    )
    retry.add_argument("--model", metavar="PROVIDER:MODEL", help="the model to ask")
    retry.add_argument("--json", action="store_true", help="print every event as a line of JSON")

    queue = add("queue", "queue:queue", "show or change what waits in a chat")
    queue.add_argument("id", metavar="ID")
    queue.add_argument(
        "action",
        nargs="?",
        choices=("list", "rm", "promote", "edit"),
        default="list",
        help="rm: take a message out; promote: run it now; edit: change what it says",
    )
    queue.add_argument(
        "message", nargs="?", metavar="N", help="the message: its place in the queue, or its id"
    )
    queue.add_argument("text", nargs="*", metavar="TEXT", help="what it says from now on, for edit")
    queue.add_argument("--json", action="store_true", help="print every waiting message as a line of JSON")

    compact = add("compact", "collection:compact", "let the model summarise a chat for its later requests")
    compact.add_argument("id", metavar="ID")
    compact.add_argument("--json", action="store_true", help="print the summary's message as JSON")


def _add_branches(add: Callable[[str, str, str], Parser]) -> None:
    branch = add("branch", "branches:branch", "list where a chat has alternatives, or go to one")
    branch.add_argument("id", metavar="ID")
    branch.add_argument("message", type=count, nargs="?", metavar="MESSAGE", help="the message to go to")
    branch.add_argument("--json", action="store_true", help="print lines of JSON")

    rewind = add("rewind", "branches:rewind", "let a chat end at a message; what came after is kept aside")
    rewind.add_argument("id", metavar="ID")
    rewind.add_argument(
        "message", type=count, nargs="?", metavar="MESSAGE", help="the end (before the last question)"
    )
    rewind.add_argument("--json", action="store_true", help="print the chat as JSON")

    fork = add("fork", "collection:fork", "copy a chat, up to a message, into a new one and print its id")
    fork.add_argument("id", metavar="ID")
    fork.add_argument("message", type=count, nargs="?", metavar="MESSAGE", help="the last one to copy")
    fork.add_argument("--json", action="store_true", help="print the new chat as JSON")


def _add_library(add: Callable[[str, str, str], Parser]) -> None:
    for name, help in (
        ("archive", "put chats away: they can be read, and take no messages"),
        ("unarchive", "bring chats back that were put away"),
    ):
        command = add(name, f"collection:{name}", help)
        command.add_argument("ids", nargs="+", metavar="ID")
        command.add_argument("--json", action="store_true", help="print every chat as a line of JSON")

    search = add("search", "search:search", "find messages by their text, and chats by their titles")
    search.add_argument(
        "words",
        nargs="+",
        metavar="WORD",
        help='words, "a phrase"; after --, also -words that must not be there',
    )
    search.add_argument("--limit", type=count, default=20, metavar="N", help="how many (20)")
    search.add_argument("--json", action="store_true", help="print every hit as a line of JSON")

    export = add(
        "export", "collection:export", "write a chat as a file: Markdown to read, JSON to import again"
    )
    export.add_argument("id", metavar="ID")
    export.add_argument(
        "--format", choices=("md", "json"), help="md, or json (the default for a FILE that ends with .json)"
    )
    export.add_argument("-o", "--output", metavar="FILE", help="the file; default: standard output")

    bring_in = add(
        "import", "collection:import_chat", "make a chat of an exported JSON file and print its id"
    )
    bring_in.add_argument("file", metavar="FILE", help="the file; - reads standard input")
    bring_in.add_argument(
        "--merge", action="store_true", help="add what it lacks to the chat that was exported, if it is there"
    )
    bring_in.add_argument("--json", action="store_true", help="print the chat as JSON")


def _add_providers(add: Callable[[str, str, str], Parser]) -> None:
    providers = add("providers", "providers:providers", "list how providers are configured")
    providers.add_argument("--all", action="store_true", help="also those that could be configured")
    providers.add_argument("--json", action="store_true", help="print them as JSON")

    provider = add("provider", "providers:provider", "configure a provider, or try one")
    provider.add_argument(
        "action",
        choices=("add", "set", "rm", "check"),
        help="add, change or forget it; check: ask it, and show what comes back",
    )
    provider.add_argument("name", metavar="PROVIDER", help="its name, the first half of its models' names")
    provider.add_argument("--type", metavar="TYPE", help="such as openai-compat; default: its name")
    provider.add_argument("--url", metavar="URL", help="its address; '' for the usual one")
    provider.add_argument("--title", metavar="TEXT", help="what to call it")
    key = provider.add_mutually_exclusive_group()
    key.add_argument("--key", action="store_true", help="read its key, from the terminal or standard input")
    key.add_argument("--no-key", action="store_true", help="forget its key")
    provider.add_argument("--switch", choices=("on", "off"), help="switch it on or off")
    provider.add_argument("--json", action="store_true", help="print the result as JSON")

    model = add("model", "providers:model", "show or change how models are configured")
    model.add_argument(
        "action",
        nargs="?",
        choices=("list", "set", "rm"),
        default="list",
        help="list them; configure or change one; forget one",
    )
    model.add_argument("id", nargs="?", metavar="PROVIDER:MODEL", help="the model; with list, a provider")
    model.add_argument("--title", metavar="TEXT", help="what to call it")
    model.add_argument("--context-limit", type=count, metavar="N", help="how many tokens it takes in")
    model.add_argument("--switch", choices=("on", "off"), help="switch it on or off")
    model.add_argument("--default", action="store_true", help="make it the model of new chats")
    model.add_argument("--json", action="store_true", help="print lines of JSON")
