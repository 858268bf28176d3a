"""Says at the start, and not only at the first call, that the model cannot work in the present folder."""

from collections.abc import Callable

from parley_clients.cli.commands.ask import has_agent
from parley_clients.cli.conversation.outcomes import Context
from parley_clients.cli.steps import visible_line
from parley_clients.errors import ParleyError


async def report_unusable_folder(context: Context, note: Callable[[str], None]) -> None:
    """Show why the tools for files are unavailable, if the options let the model use tools and they are."""
    client = context.client.wrapped
    if not has_agent(context.options) or "tool/list" not in client.features:
        return
    try:
        listed = (await client.call("tool/list", {"chatId": context.chat.id})).raw["tools"]
    except (ParleyError, TimeoutError):
        return  # the tools say it themselves
    for tool in listed:
        if tool["name"] == "read_file" and not tool["available"]:
            note(visible_line(tool["reason"] or "The tools for files are unavailable."))
