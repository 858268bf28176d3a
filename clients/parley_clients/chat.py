"""A chat as an object that carries its id: everything that can be done in it. Holds no history."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from parley_clients.branches import Place, places
from parley_clients.chat_turns import ChatTurns
from parley_clients.errors import error_from_wire
from parley_clients.params import UNSET, Unset, as_json, given
from parley_clients.queue import Queue
from parley_clients.results import ChatRecord, ChatSnapshot, Json
from parley_clients.streaming.live_chat import LiveChat
from parley_protocol.fold import ChatView

if TYPE_CHECKING:
    from parley_protocol.models.chats import ExportFormat
    from parley_protocol.models.settings import ModelSettings

_PAGE = 200


class Chat(ChatTurns):
    """One chat, by its id. Any number of calls may be under way at once, in this chat and in others.

    `record` is the chat as the last call told it (None for a chat that was only named so far); `get` reads
    it anew. Every call raises ParleyError as the daemon's answer or the lost connection has it, and
    TimeoutError when its `timeout` in seconds passes; a call that is cancelled is cancelled in the daemon.
    """

    def __repr__(self) -> str:
        return f"<Chat {self.id}>"

    @property
    def queue(self) -> Queue:
        """The messages that wait for their turn, and what can be done with them."""
        return Queue(self._link, self.id)

    # ------------------------------------------------------------------ the chat itself

    async def get(
        self,
        *,
        limit: int | None = None,
        after_message_id: int | None = None,
        before_message_id: int | None = None,
        timeout: float | None = None,
    ) -> ChatSnapshot:
        """Read the chat with its newest messages, or those after or before one; at most `limit` (200)."""
        params = given(limit=limit, afterMessageId=after_message_id, beforeMessageId=before_message_id)
        raw = await self._link.call("chat/get", {"chatId": self.id, **params}, timeout)
        self.record = ChatRecord("chat/update", raw["chat"])
        return ChatSnapshot("chat/get", raw)

    async def set_model(self, model: str, *, timeout: float | None = None) -> ChatRecord:
        """Choose the model ("provider:model") of the next turns."""
        return await self._change("chat/setModel", {"model": model}, timeout)

    async def set_context(
        self,
        *,
        repositories: Sequence[str] | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        files: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> ChatRecord:
        """Choose the files that the chat may look at. What is None stays as it is; [] clears.

        `repositories` and `files` are URIs, `include` and `exclude` glob patterns.
        """
        params = given(repositories=repositories, include=include, exclude=exclude, files=files)
        return await self._change("chat/setContext", params, timeout)

    async def update(
        self,
        *,
        title: str | Unset | None = UNSET,
        system_prompt: str | Unset | None = UNSET,
        settings: "ModelSettings | Mapping[str, Any] | Unset | None" = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        timeout: float | None = None,
    ) -> ChatRecord:
        """Change what is given; None clears it."""
        changes = {"title": title, "systemPrompt": system_prompt, "settings": settings, "metadata": metadata}
        params = {name: as_json(value) for name, value in changes.items() if value is not UNSET}
        return await self._change("chat/update", params, timeout)

    async def archive(self, *, timeout: float | None = None) -> ChatRecord:
        """Put the chat and the chats below it away: they can be read, and take no messages.

        Raises:
            ChatBusyError: one of them has a turn under way.
            ConflictError: it is archived already.
        """
        return await self._change("chat/archive", {}, timeout)

    async def unarchive(self, *, timeout: float | None = None) -> ChatRecord:
        """Bring the chat and the chats below it back.

        Raises:
            ConflictError: it is not archived, or the chat that it belongs to is.
        """
        return await self._change("chat/unarchive", {}, timeout)

    async def delete(self, *, timeout: float | None = None) -> None:
        """Delete the chat for good."""
        raw = await self._link.call("chat/delete", {"chatIds": [self.id]}, timeout)
        for error in raw["errors"]:
            raise error_from_wire(error)

    # -------------------------------------------------------------------------- branches

    async def branches(self, *, timeout: float | None = None) -> list[Place]:
        """Return the places of the active branch that have alternatives, from the first message on.

        An edit makes one at the question's place, a retry at the answer's; `select_branch` with one of a
        place's `siblings` goes there. Reads the whole branch, page by page; `timeout` is for each page.
        """
        page = await self.get(limit=_PAGE, timeout=timeout)
        messages = page.messages
        while page.has_more:
            page = await self.get(limit=_PAGE, before_message_id=messages[0]["id"], timeout=timeout)
            messages = page.messages + messages
        return places(messages)

    async def select_branch(self, message_id: int, *, timeout: float | None = None) -> ChatRecord:
        """Let the chat run through this message, to the newest message behind it. Ends a turn under way."""
        return await self._change("chat/selectBranch", {"messageId": message_id}, timeout)

    async def rewind(self, message_id: int, *, timeout: float | None = None) -> ChatRecord:
        """Let the chat end at this message. Ends a turn under way; the rest stays, in other branches."""
        return await self._change("chat/rewind", {"messageId": message_id}, timeout)

    # ---------------------------------------------------------------------------- copies

    async def fork(self, message_id: int | None = None, *, timeout: float | None = None) -> "Chat":
        """Copy the way to a message (default: the last one of the active branch) into a new chat."""
        params: Json = given(chatId=self.id, messageId=message_id)
        record = ChatRecord("chat/fork", await self._link.call("chat/fork", params, timeout))
        return Chat(self._link, record.id, record)

    async def export(self, format: "ExportFormat" = "markdown", *, timeout: float | None = None) -> str:
        """Return the text of a file: "markdown" to read, the active branch; "json" with all there is.

        The latter is what `Client.import_chat` takes.
        """
        raw = await self._link.call("chat/export", {"chatId": self.id, "format": format}, timeout)
        return raw["content"]

    def attach(self, *, after: int | None = None, tail: int = 100, state: ChatView | None = None) -> LiveChat:
        """Return a live view of the chat, for `async with`; see LiveChat.

        It begins with a snapshot with the newest `tail` messages (0 to 1000); or after the event number
        `after`, which leaves the view without `state`; or goes on with the `state` of an earlier view.
        """
        return LiveChat(self._link, self.id, after, tail, state)
