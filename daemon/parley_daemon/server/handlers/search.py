"""chat/search."""

from typing import Any

from parley_daemon.server.connection.app import OWNER
from parley_daemon.server.connection.call import Call
from parley_daemon.server.wire import records
from parley_protocol.models.chats import ChatSearchParams


async def search(call: Call, params: ChatSearchParams) -> Any:
    """Return one page of what is found."""
    page = await call.connection.app.engine.search(
        OWNER, params.query, cursor=params.cursor, limit=params.limit
    )
    return {"hits": [records.hit(one) for one in page.hits], "nextCursor": page.next_cursor}
