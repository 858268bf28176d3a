"""The commands of `parley chat`, such as /edit: what a line means, and what a command does.

Theory of operation. A line that begins with a word like `/edit` is a command. An unknown one is refused, with
a suggestion, and never sent to the model; a space before it sends it as text. So is a `/` alone. A path such
as `/etc/hosts` is text. The demo model has commands of its own (`/stall`), which are sent to it.

Commands are the same on a terminal and without one. They work with the blocking client, and return what is
left to do for the prompt that runs them: show a text, start a turn, show another chat.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from parley_clients.cli.attachments import read_files
from parley_clients.cli.commands.ask import new_chat_fields
from parley_clients.cli.commands.branches import find_message_before_question
from parley_clients.cli.commands.edit_retry import find_last_question
from parley_clients.cli.commands.queue import change_queue
from parley_clients.cli.conversation import descriptions
from parley_clients.cli.conversation.agents import commands as agents
from parley_clients.cli.conversation.agents import offers, rules, servers
from parley_clients.cli.conversation.agents.changes import diff
from parley_clients.cli.conversation.agents.undo import undo
from parley_clients.cli.conversation.context.sources import sources
from parley_clients.cli.conversation.outcomes import Context, Edit, Open, Outcome, Quit, Retry, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.options import find_chat
from parley_clients.errors import ChatNotFoundError
from parley_clients.results import Json

_COMMAND = re.compile(r"/[A-Za-z][\w-]*[!?.,:;]*")
_SHOWN_CHATS = 10

DEMO_MODEL = "demo:demo"
DEMO_COMMANDS = frozenset({"/long", "/tokens", "/slow", "/fast", "/error", "/stall", "/tool", "/fix"})
"""The commands that the demo model understands, besides /help."""


def command_name(text: str, model: str | None) -> str | None:
    """Return the name of the command that a line is, such as "/edit"; None for a text that is to be sent.

    `model` is the model of the chat. The name may be unknown.
    """
    word = text.split(None, 1)[0] if text.startswith("/") else ""
    is_command = _COMMAND.fullmatch(word) is not None or text.strip() == "/" == word
    if offers.is_prompt(word):
        return word
    if not is_command or (model == DEMO_MODEL and word in DEMO_COMMANDS):
        return None
    return word.lower()


def run_command(text: str, context: Context) -> Outcome:
    """Run the command in a line.

    Raises:
        CommandError: there is no such command, or it failed.
        UsageError: its argument is invalid.
        ParleyError: a request failed.
    """
    word, argument = [*text.split(None, 1), ""][:2]
    if offers.is_prompt(word):
        return offers.send_prompt(context, word, argument.strip())
    found = COMMANDS.get(word.lower())
    if found is None:
        close = [name for name in COMMANDS if name.startswith(word.lower()) and word != "/"]
        close = close or get_close_matches(word.lower(), COMMANDS, 1, 0.6)
        hint = f"Did you mean {' or '.join(close[:3])}?" if close else "/help lists the commands."
        raise CommandError(f"There is no command {word}. {hint} To send it as text, put a space before it.")
    return found.run(context, argument.strip())


# ------------------------------------------------------------------------------ chats


def _new(context: Context, argument: str) -> Outcome:
    try:
        model = argument or _record(context)["model"]
    except ChatNotFoundError:  # it was deleted
        model = None
    chat = context.client.create_chat(
        model=model,
        system_prompt=context.options.system,
        **new_chat_fields(context.options),
    )
    return Open(chat)


def _open(context: Context, argument: str) -> Outcome:
    if not argument:
        page = context.client.list_chats(archived=False, limit=_SHOWN_CHATS)
        shown = descriptions.describe_chats([record.raw for record in page.chats])
        return Show(f"{shown}\n/open ID, or words of the title, opens one.")
    try:
        return Open(context.client.chat(find_chat(context.client, argument)))
    except CommandError:
        page = context.client.list_chats(query=argument, limit=_SHOWN_CHATS)
        if not page.chats:
            raise CommandError(f'No chat has the id or the title "{argument}".') from None
        if page.total > 1:
            return Show(descriptions.describe_chats([record.raw for record in page.chats]))
        return Open(context.client.chat(page.chats[0].id))


def _model(context: Context, argument: str) -> Outcome:
    raw = context.chat.set_model(argument).raw if argument else _record(context)
    return Show(str(raw["model"] or "no model"))


def _title(context: Context, argument: str) -> Outcome:
    if not argument:
        raise CommandError("/title needs a text.")
    context.chat.update(title=argument)
    return Show("")


def _usage(context: Context, argument: str) -> Outcome:
    snapshot = context.chat.get(limit=20)
    answers = [message for message in snapshot.messages if message["role"] == "assistant"]
    return Show(descriptions.describe_usage(snapshot.raw["chat"], answers[-1] if answers else None))


def _record(context: Context) -> Json:
    """Return the chat without its messages."""
    return context.chat.get(limit=1).raw["chat"]


# ------------------------------------------------------------------ the next message


def _attach(context: Context, argument: str) -> Outcome:
    if argument:
        names = [argument] if Path(argument).expanduser().exists() else _split(argument)
        context.attachments += read_files(names, lambda: b"")
    if not context.attachments:
        return Show("No file is attached. /attach FILE attaches one to the next message.")
    return Show(f"The next message takes along: {descriptions.describe_attachments(context.attachments)}")


def _split(argument: str) -> list[str]:
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise UsageError(f"The names of the files are not clear: {error}.") from None


def _detach(context: Context, argument: str) -> Outcome:
    context.attachments.clear()
    return Show("No file is attached.")


# ----------------------------------------------------------------- turns and branches


def _retry(context: Context, argument: str) -> Outcome:
    return Retry(argument or None)


def _edit(context: Context, argument: str) -> Outcome:
    question = find_last_question(context.chat)
    text = "\n\n".join([part["text"] for part in question["content"] if part["type"] == "text"])
    return Edit(question["id"], text, argument or None)


def _stop(context: Context, argument: str) -> Outcome:
    context.chat.interrupt()
    return Show("")


def _rewind(context: Context, argument: str) -> Outcome:
    context.chat.rewind(find_message_before_question(context.chat))
    return Show("The chat now ends before the last question, which is kept on its own branch.")


def _branch(context: Context, argument: str) -> Outcome:
    if not argument:
        return Show(descriptions.describe_branches(context.chat.branches()))
    if not argument.isdecimal():
        raise CommandError("/branch needs the number of a message.")
    context.chat.select_branch(int(argument))
    return Show(f"The chat now continues from message {argument}.")


def _queue(context: Context, argument: str) -> Outcome:
    action, _, rest = (argument or "list").partition(" ")
    message, _, text = rest.strip().partition(" ")
    is_complete = {
        "list": not rest,
        "rm": message and not text,
        "promote": message and not text,
        "edit": text,
    }
    if not is_complete.get(action):
        raise CommandError("Use /queue, /queue rm N, /queue promote N or /queue edit N TEXT.")
    return Show(descriptions.describe_queue(change_queue(context.chat, action, message, text.strip())))


def _quit(context: Context, argument: str) -> Outcome:
    return Quit()


def _help(context: Context, argument: str) -> Outcome:
    width = max(len(command.usage) for command in COMMANDS.values())
    rows = [f"{command.usage:<{width}}  {command.help}" for command in COMMANDS.values() if command.help]
    return Show("\n".join([*rows, "", *KEYS]))


KEYS = (
    "Up and Down go through what was typed, Ctrl-R searches it. Tab completes.",
    "Enter sends. Alt-Enter, or \\ before Enter, begins a new line. Ctrl-X Ctrl-E opens $EDITOR.",
    "Ctrl-C stops the answer and keeps what has come; once more, or Ctrl-D, leaves. The answer goes on then.",
    "A message that is sent during an answer waits in the queue. Other lines are sent to the model.",
)


@dataclass(frozen=True)
class Command:
    """A command: how it is used, one line of help ("" for a second name), and its function."""

    usage: str
    help: str
    run: Callable[[Context, str], Outcome]


COMMANDS = {
    command.usage.partition(" ")[0]: command
    for command in (
        Command("/new [PROVIDER:MODEL]", "start a new chat", _new),
        Command("/open [ID|TITLE]", "list the chats, or open one", _open),
        Command("/model [PROVIDER:MODEL]", "show or set the model", _model),
        Command("/attach [FILE…]", "send files, or @SERVER:URI, with the next message; list them", _attach),
        Command("/detach", "send no files", _detach),
        Command("/retry [PROVIDER:MODEL]", "get another answer to the last question", _retry),
        Command("/edit [TEXT]", "replace the last question", _edit),
        Command("/rewind", "go back to before the last question", _rewind),
        Command("/branch [MESSAGE]", "list the branches, or go on with one", _branch),
        Command("/queue [rm|promote|edit N]", "list or change the messages that wait", _queue),
        Command("/stop", "stop the answer; the next message of the queue runs", _stop),
        Command("/mode [off|plan|ask|edits|auto]", "show or set what the model may do unasked", agents.mode),
        Command("/tools", "list the tools of the model, and what is decided about them", agents.tools),
        Command("/permissions [rm ID]", "list the rules; /permissions help explains more", rules.permissions),
        Command("/trust [yes|no]", "show the rules and the AGENTS.md of the folder; trust them", rules.trust),
        Command("/jobs [ID|stop ID]", "list the commands in the background; show or stop one", agents.jobs),
        Command("/mcp [restart|auth NAME]", "list the MCP servers; start or authorize one", servers.mcp),
        Command("/resources", "list what MCP servers have to read: /attach @SERVER:URI", offers.resources),
        Command("/prompts", "list the prompts of MCP servers: /SERVER:PROMPT sends one", offers.prompts),
        Command("/agents [ID|stop ID]", "list the agents of the model; show or stop one", servers.agents),
        Command("/diff [FROM] [FILE…]", "show what has changed, since the last commit or message FROM", diff),
        Command("/undo [N [yes|force] [FILE…]]", "list what was changed; show, then undo a change", undo),
        Command("/deny [REASON]", "deny what is asked; the model reads the reason", agents.nothing_asked),
        Command("/skip", "look at the next question first", agents.nothing_asked),
        Command("/sources [N]", "list the sources of the last answer; open one in $EDITOR", sources),
        Command("/usage", "show tokens, cost and how full the context is", _usage),
        Command("/title TEXT", "set the title of the chat", _title),
        Command("/help", "show this help", _help),
        Command("/quit", "leave", _quit),
        Command("/exit", "", _quit),
    )
}
"""The commands by name, in the order of the help."""
