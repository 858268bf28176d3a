"""`parley ask`: asks one question, shows the answer, and returns an exit code."""

import argparse
import sys
from collections.abc import Callable

from parley_clients.cli.display.output import make_output, make_progress
from parley_clients.cli.errors import (
    EXIT_DENIED,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    CommandError,
    UsageError,
    print_error,
)
from parley_clients.cli.inputs import UnreadInput, read_content
from parley_clients.cli.mentions import with_resources
from parley_clients.cli.messages import describe_cut_answer, describe_failed_turn, has_answer
from parley_clients.cli.options import (
    connect_daemon,
    find_chat,
    find_last_chat,
    present_folder,
    short_id,
)
from parley_clients.cli.steps import describe_denied
from parley_clients.cli.turns import run_turn
from parley_clients.errors import ConflictError, ConnectionLostError
from parley_clients.requests import ActionRequest
from parley_clients.results import Json
from parley_clients.sync import Chat, Client, TurnStream


def ask(options: argparse.Namespace) -> int:
    """Ask a question and show the answer; return its exit code (see `_exit_code`)."""
    if options.system is not None and (options.chat or options.last):
        raise UsageError("--system is for a new chat. It cannot be combined with --chat or --last.")
    unread = UnreadInput(options.text, options.files)
    unread.report()
    content = read_content(options.text, options.files)
    settings, schema = read_settings(options), read_schema(options)
    with connect_daemon(options) as client:
        chat = _select_chat(client, options)
        if chat.record is not None:
            settings = {}  # the new chat has them
        uses_tools = has_agent(options) or chat.record is None
        turn_settings = {**settings, **schema}
        content = with_resources(client, chat.id, content)
        if uses_tools:
            turn_settings = unattended(client, turn_settings)
        try:
            code = show_turn(
                options,
                chat,
                lambda: chat.stream(content, model=options.model, settings=turn_settings or None),
            )
        except ConnectionLostError as error:
            id = short_id(chat.id)
            hint = f"The chat is kept: see parley show {id}, or continue with parley ask --chat {id}."
            raise CommandError(f"{error.message} {hint}") from None
    unread.report()
    return code


def read_settings(options: argparse.Namespace) -> Json:
    """Return the settings of -o and --agent."""
    settings: Json = {}
    if options.settings:
        from parley_clients.cli.settings import read_settings

        settings = read_settings(options.settings)
    if getattr(options, "agent", None) is not None:
        settings["agent"] = {**(settings.get("agent") or {}), "mode": options.agent}
    return settings


def has_agent(options: argparse.Namespace) -> bool:
    """Return whether the options let the model use tools."""
    agent: Json = read_settings(options).get("agent") or {}
    return (agent.get("mode") or "off") != "off"


def new_chat_fields(options: argparse.Namespace) -> Json:
    """Return settings and context of a new chat, for `create_chat`. An agent works in the present folder."""
    settings = read_settings(options)
    context = {"repositories": [present_folder()]} if has_agent(options) else None
    return {"settings": settings or None, "context": context}


def unattended(client: Client, settings: Json) -> Json:
    """Return the settings of a turn in which nobody is asked: what would be asked is denied at once."""
    if "chat/respond" not in client.features:
        return settings
    return {**settings, "agent": {**(settings.get("agent") or {}), "interactive": False}}


def read_schema(options: argparse.Namespace) -> Json:
    """Return the setting of --schema, or nothing."""
    if options.schema is None:
        return {}
    if options.code:
        raise UsageError("-x prints code, --schema prints a value. Give one of them.")
    from parley_clients.cli.settings import read_schema

    return {"outputSchema": read_schema(options.schema)}


def show_turn(options: argparse.Namespace, chat: Chat, start: Callable[[], TurnStream]) -> int:
    """Run a turn and show its answer, or only the code or the value in it; return the exit code."""
    wants_value = getattr(options, "schema", None) is not None and not options.json
    if not options.code and not wants_value:
        return _exit_code(run_turn(start(), lambda: make_output(options), deny_unattended(chat)), chat.id)
    from parley_clients.cli.display.value import ValueOutput, print_code, print_value

    ended = run_turn(start(), lambda: ValueOutput(make_progress(options)), deny_unattended(chat))
    code = _exit_code(ended, chat.id)
    if code in (0, EXIT_DENIED) and ended is not None:
        if wants_value:
            print_value(ended.get("output"))
        else:
            print_code(ended["messages"], chat.id)
    return code


def deny_unattended(chat: Chat) -> Callable[[ActionRequest], None] | None:
    """Return what answers questions where nobody sees them; None at a terminal, where they stay open.

    They come up in a turn that was not started as unattended, such as that of an edit.
    """
    if sys.stdin.isatty() and sys.stderr.isatty():
        return None

    def deny(request: ActionRequest) -> None:
        try:
            chat.respond(request, "deny", reason="Nobody can be asked: the command runs without a terminal.")
        except ConflictError:
            pass  # another client has answered

    return deny


def _exit_code(ended: Json | None, chat_id: str) -> int:
    """Return the exit code for the result of a turn; print why it failed, or what its answer lacks.

    A turn that completed without an answer, at a limit or a filter, is a failure for a script. One in which
    calls were denied has a code of its own: its answer is there, but what it was to do may not be done.
    """
    if ended is None:
        return EXIT_INTERRUPTED
    needed = describe_denied(ended)
    if needed:
        print_error(needed)
    reason = describe_failed_turn(ended, chat_id)
    if reason is not None:
        print_error(reason)
        return EXIT_FAILURE
    if ended["outcome"] == "interrupted":
        return EXIT_INTERRUPTED
    lack = describe_cut_answer(ended)
    if lack is not None:
        print_error(lack)
        if not has_answer(ended):
            return EXIT_FAILURE
    return EXIT_DENIED if needed else 0


def _select_chat(client: Client, options: argparse.Namespace) -> Chat:
    if options.chat:
        return client.chat(find_chat(client, options.chat))
    if options.last:
        return client.chat(find_last_chat(client))
    return client.create_chat(model=options.model, system_prompt=options.system, **new_chat_fields(options))
