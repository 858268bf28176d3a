"""The sources of a message: found before the lock of its chat is taken, since that may take a moment."""

from msgspec.structs import replace

from parley_daemon.engine.chats.acceptance import Draft
from parley_daemon.engine.chats.live_chat import LiveChat


async def with_sources(live: LiveChat, draft: Draft) -> Draft:
    """Return a message with the sources that its chat's context has for it."""
    if live.chat.context.is_empty:
        return draft
    retrieval, settings = live.services.retrieval, draft.settings.agent
    content, note = await retrieval.add_sources(live.chat, draft.content, settings)
    return replace(draft, content=content, retrieval=note)
