"""One chat: everything that a client can do with it. The object holds the chat's id and no messages."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from parley_clients.answers import Answer, SentMessage
from parley_clients.changes import Diff, DiffStatus, FileChange
from parley_clients.connection.session import Session
from parley_clients.context.searching import FoundContext, find_context, search_params
from parley_clients.context.sources import Source, last_sources
from parley_clients.errors import ParleyError, error_from_wire
from parley_clients.params import UNSET, Unset, call_params, message_params, update_params
from parley_clients.queue import Queue
from parley_clients.requests import ActionRequest, Decision, answers_result, response_params
from parley_clients.results import (
    BranchPoint,
    ChatRecord,
    ChatSnapshot,
    Checkpoint,
    Child,
    Job,
    Json,
    Restored,
    Result,
)
from parley_clients.streaming.live_chat import LiveChat
from parley_clients.streaming.references import fetch_part, make_whole, with_whole_parts
from parley_clients.streaming.turn_request import AskRequest, RerunRequest
from parley_clients.streaming.turn_stream import TurnStream
from parley_protocol.fold import ChatView

if TYPE_CHECKING:
    from parley_clients.params import Agent, Content, Settings
    from parley_protocol.models.chats import ExportFormat
    from parley_protocol.models.objects import Message
    from parley_protocol.models.turns import ChatRespondResult, WhenBusy

_PAGE_SIZE = 200


class Chat:
    """One chat, by its id. Any number of calls may be running at once, in this chat and in others.

    `record` is the chat as of the last call that returned it, or None before. Every call raises ParleyError
    if the response is an error or the connection is lost, and TimeoutError after `timeout` seconds.
    Cancelling a call cancels its request.
    """

    def __init__(self, session: Session, chat_id: str, record: ChatRecord | None = None) -> None:
        self.id = chat_id
        self.record = record
        self._session = session

    def __repr__(self) -> str:
        return f"<Chat {self.id}>"

    @property
    def queue(self) -> Queue:
        """The messages that wait for their turn."""
        return Queue(self._session, self.id)

    # ------------------------------------------------------------------------ turns

    async def ask(
        self,
        content: "Content",
        *,
        when_busy: "WhenBusy | None" = None,
        model: str | None = None,
        settings: "Settings | None" = None,
        agent: "Agent | None" = None,
        client_message_id: str | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Send a message and return the answer once its turn has ended.

        `content` is text or a list of input parts. `when_busy` says what happens to the message while a turn
        is running: "queue" (the default), "steer" the turn, "interrupt" it, or "reject" the message. `agent`
        says what the model may do: a mode ("off", "plan", "ask", "edits", "auto") or all settings of agents.
        A failed turn returns an answer as well, with the outcome "failed". Cancelling this call interrupts
        the turn, and so does its timeout. If the connection is lost, the turn continues: ask again with the
        `client_message_id` of the error to get its answer.
        """
        params = message_params(self.id, content, when_busy, model, settings, agent, client_message_id)
        raw = await self._send("chat/ask", params, timeout)
        await make_whole(self._session, raw["messages"], timeout)
        return Answer(raw, params["clientMessageId"])

    def stream(
        self,
        content: "Content",
        *,
        when_busy: "WhenBusy | None" = None,
        model: str | None = None,
        settings: "Settings | None" = None,
        agent: "Agent | None" = None,
        client_message_id: str | None = None,
    ) -> TurnStream:
        """Send a message and return the events of its turn, for `async for`; see TurnStream.

        The last event is `turn_ended`, for a failed turn as well. Leaving the loop earlier interrupts the
        turn. `stream(…).text()` is the text alone.
        """
        params = message_params(self.id, content, when_busy, model, settings, agent, client_message_id)
        return TurnStream(self._session, AskRequest(self._session, params))

    async def send(
        self,
        content: "Content",
        *,
        when_busy: "WhenBusy | None" = None,
        model: str | None = None,
        settings: "Settings | None" = None,
        agent: "Agent | None" = None,
        client_message_id: str | None = None,
        timeout: float | None = None,
    ) -> SentMessage:
        """Send a message and return once it is stored. Its turn runs in the background."""
        params = message_params(self.id, content, when_busy, model, settings, agent, client_message_id)
        return SentMessage(await self._send("chat/send", params, timeout), params["clientMessageId"])

    async def edit(
        self, message_id: int, content: "Content", *, model: str | None = None, timeout: float | None = None
    ) -> Answer:
        """Replace a user message on the active branch and return the answer to the new one.

        The new message is a sibling of the old one, which stays on its own branch (see `select_branch`). A
        running turn is interrupted, and the queue is cleared. Cancelling this call interrupts the new turn,
        and so does its timeout. A lost connection does not: the call continues over the next connection.
        """
        return await self.stream_edit(message_id, content, model=model).finish(timeout)

    def stream_edit(self, message_id: int, content: "Content", *, model: str | None = None) -> TurnStream:
        """Edit a message and return the events of its turn, for `async for`; see `edit` and TurnStream."""
        params = call_params(chatId=self.id, messageId=message_id, content=content, model=model)
        return TurnStream(self._session, RerunRequest(self._session, "chat/editMessage", params))

    async def send_edit(
        self, message_id: int, content: "Content", *, model: str | None = None, timeout: float | None = None
    ) -> SentMessage:
        """Edit a message and return once it is stored. Its turn runs in the background; see `edit`."""
        params = call_params(chatId=self.id, messageId=message_id, content=content, model=model)
        return SentMessage(await self._session.call("chat/editMessage", params, timeout), None)

    async def retry(
        self,
        message_id: int | None = None,
        *,
        model: str | None = None,
        settings: "Settings | None" = None,
        timeout: float | None = None,
    ) -> Answer:
        """Return another answer to a user message (default: the last one).

        The new answer is a sibling of the old one. A running turn is interrupted; the queue continues after
        the new turn. Cancelling, timeouts and lost connections work as for `edit`.
        """
        return await self.stream_retry(message_id, model=model, settings=settings).finish(timeout)

    def stream_retry(
        self, message_id: int | None = None, *, model: str | None = None, settings: "Settings | None" = None
    ) -> TurnStream:
        """Retry and return the events of the new turn, for `async for`; see `retry` and TurnStream."""
        params = call_params(chatId=self.id, messageId=message_id, model=model, settings=settings)
        return TurnStream(self._session, RerunRequest(self._session, "chat/retry", params))

    async def send_retry(
        self,
        message_id: int | None = None,
        *,
        model: str | None = None,
        settings: "Settings | None" = None,
        timeout: float | None = None,
    ) -> SentMessage:
        """Retry and return once the new turn is stored. It runs in the background; see `retry`."""
        params = call_params(chatId=self.id, messageId=message_id, model=model, settings=settings)
        return SentMessage(await self._session.call("chat/retry", params, timeout), None)

    async def interrupt(
        self,
        *,
        scope: Literal["turn", "tree"] | None = None,
        children: bool | None = None,
        timeout: float | None = None,
    ) -> ChatRecord:
        """Interrupt the running turn, if any. The partial answer is kept.

        Its child chats end with it, but for those that work in the background. With the scope "turn" they go
        on, and with `children=True` all of them end.
        """
        return await self._change("chat/interrupt", call_params(scope=scope, children=children), timeout)

    async def respond(
        self,
        request: ActionRequest | Mapping[str, Any] | str,
        decision: Decision,
        *,
        result: Any = None,
        answers: "Mapping[str, Any] | Sequence[Any] | None" = None,
        rule: "str | Mapping[str, Any] | None" = None,
        reason: str | None = None,
        timeout: float | None = None,
    ) -> "Result[ChatRespondResult]":
        """Answer a question of the turn: an ActionRequest, its JSON, or its id.

        "allow_always" stores a rule: `rule` is one of those that the request offers, or its id; it may be
        left out if one is offered. "deny" may have a `reason`, which the model reads. `answers` are those to
        the form of an MCP server, by the names of its fields (`request.form["answerSchema"]`), or those to
        a request of kind "question", in their order. `result` has the mode after a "plan" ({"mode"}).

        Raises:
            ConflictError: somebody else has answered it.
            InvalidParamsError: the answers do not fit the form.
            ValueError: it is not clear which rule to store, or a field of the form is missing or unknown.
        """
        if answers is not None:
            result = answers_result(request, decision, answers, result)
        params = {"chatId": self.id, **response_params(request, decision, result, rule, reason)}
        return Result("chat/respond", await self._session.call("chat/respond", params, timeout))

    async def compact(self, *, timeout: float | None = None) -> "Result[Message]":
        """Let the model summarise the history for later model calls, and return the message with the summary.

        The messages of the chat stay as they are.
        """
        raw = await self._session.call("chat/compact", {"chatId": self.id}, timeout)
        return Result("chat/compact", raw)

    # --------------------------------------------------------------- the chat itself

    async def get(
        self,
        *,
        limit: int | None = None,
        after_message_id: int | None = None,
        before_message_id: int | None = None,
        timeout: float | None = None,
    ) -> ChatSnapshot:
        """Return the chat with its newest messages, or those after or before one; at most `limit` (200).

        A page has at most 8 MiB, so there may be fewer; see `has_more`. Large parts are references (`ref`):
        `whole` and `file` fetch them.
        """
        page = call_params(limit=limit, afterMessageId=after_message_id, beforeMessageId=before_message_id)
        raw = await self._session.call("chat/get", {"chatId": self.id, **page}, timeout)
        self.record = ChatRecord("chat/update", raw["chat"])
        return ChatSnapshot("chat/get", raw)

    async def file(self, message_id: int, index: int, *, timeout: float | None = None) -> Json:
        """Return a whole part of a message, by its position in `content`, counted from 0."""
        return await fetch_part(self._session, self.id, message_id, index, timeout)

    async def whole(
        self,
        message: Mapping[str, Any],
        *,
        types: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Json:
        """Return a message with whole parts in place of references; `types` such as ["text"] only those.

        `timeout` holds for each part.
        """
        return await with_whole_parts(self._session, message, types, timeout)

    async def update(
        self,
        *,
        title: str | Unset | None = UNSET,
        system_prompt: str | Unset | None = UNSET,
        settings: "Settings | Unset | None" = UNSET,
        metadata: Mapping[str, Any] | Unset | None = UNSET,
        timeout: float | None = None,
    ) -> ChatRecord:
        """Change the given fields; None clears a field. Settings are replaced as a whole."""
        changes = update_params(title=title, systemPrompt=system_prompt, settings=settings, metadata=metadata)
        return await self._change("chat/update", changes, timeout)

    async def set_model(self, model: str, *, timeout: float | None = None) -> ChatRecord:
        """Set the model ("provider:model") of the following turns."""
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
        """Set the files that the chat may read. None leaves a field unchanged, [] clears it.

        `repositories` and `files` are URIs, `include` and `exclude` glob patterns.
        """
        context = call_params(repositories=repositories, include=include, exclude=exclude, files=files)
        return await self._change("chat/setContext", context, timeout)

    async def archive(self, *, timeout: float | None = None) -> ChatRecord:
        """Archive the chat and its child chats. Archived chats can be read and accept no messages.

        Raises:
            ChatBusyError: a turn is running in one of them.
            ConflictError: the chat is archived already.
        """
        return await self._change("chat/archive", {}, timeout)

    async def unarchive(self, *, timeout: float | None = None) -> ChatRecord:
        """Unarchive the chat and its child chats.

        Raises:
            ConflictError: the chat is not archived, or its parent is.
        """
        return await self._change("chat/unarchive", {}, timeout)

    async def pin(self, pinned: bool = True, *, timeout: float | None = None) -> ChatRecord:
        """Pin the chat, or unpin it. This does not count as a use: the order of lists stays the same."""
        return await self._change("chat/pin", {"pinned": pinned}, timeout)

    async def unpin(self, *, timeout: float | None = None) -> ChatRecord:
        """Unpin the chat: the same as `pin(False)`."""
        return await self.pin(False, timeout=timeout)

    async def delete(self, *, timeout: float | None = None) -> None:
        """Delete the chat permanently. Its child chats are kept."""
        raw = await self._session.call("chat/delete", {"chatIds": [self.id]}, timeout)
        for error in raw["errors"]:
            raise error_from_wire(error)

    # --------------------------------------------------------------------- branches

    async def branches(self, *, timeout: float | None = None) -> list[BranchPoint]:
        """Return the positions of the active branch that have alternatives, first message first.

        An edit creates an alternative to the question, a retry one to the answer. `select_branch` with one of
        the `siblings` activates it. `timeout` holds for each page of messages.
        """
        page = await self.get(limit=_PAGE_SIZE, timeout=timeout)
        messages = page.messages
        while page.has_more:
            page = await self.get(limit=_PAGE_SIZE, before_message_id=messages[0]["id"], timeout=timeout)
            messages = page.messages + messages
        return [BranchPoint(message) for message in messages if len(message["siblings"]) > 1]

    async def select_branch(self, message_id: int, *, timeout: float | None = None) -> ChatRecord:
        """Activate the branch of this message, up to its newest message. Ends a running turn."""
        return await self._change("chat/selectBranch", {"messageId": message_id}, timeout)

    async def rewind(self, message_id: int, *, timeout: float | None = None) -> ChatRecord:
        """End the active branch at this message; the rest is kept on its branch. Ends a running turn."""
        return await self._change("chat/rewind", {"messageId": message_id}, timeout)

    # ----------------------------------------------------------------- changed files

    async def checkpoints(self, *, timeout: float | None = None) -> list[Checkpoint]:
        """Return what tools changed in files, turn by turn, the newest first."""
        raw = await self._session.call("chat/checkpoints", {"chatId": self.id}, timeout)
        return [Checkpoint(one) for one in raw]

    async def restore(
        self,
        checkpoint_id: str,
        *,
        paths: Sequence[str] | None = None,
        dry_run: bool = False,
        force: bool = False,
        timeout: float | None = None,
    ) -> Restored:
        """Put the files of a checkpoint (or those at the URIs `paths`) back that are as its turn left them.

        `force` restores files that have changed since, too, and needs `paths`. With `dry_run`, nothing is
        changed. The result has the files that were left alone, and the checkpoint that undoes this.

        Raises:
            ChatBusyError: a turn is running.
            ToolNotFoundError: the chat has no such checkpoint.
        """
        params = call_params(chatId=self.id, checkpointId=checkpoint_id, paths=paths)
        params |= {"dryRun": dry_run, "force": force}
        return Restored("chat/restore", await self._session.call("chat/restore", params, timeout))

    async def changes(self, *, timeout: float | None = None) -> list[FileChange]:
        """Return the files that have changed in the chat's folders: since the last commit of a repository,
        elsewhere by the chat's tools.
        """
        raw = await self._session.call("chat/gitChanges", {"chatId": self.id}, timeout)
        return [FileChange(one) for one in raw]

    async def diff_status(self, *, timeout: float | None = None) -> DiffStatus:
        """Find out how much has changed in the chat's folders, and the state of the pull request."""
        return DiffStatus(await self._session.call("chat/diffStatus", {"chatId": self.id}, timeout))

    async def diff(
        self,
        from_message_id: int | None = None,
        *,
        paths: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> Diff:
        """Return what has changed in the chat's folders as one diff; with `paths` (URIs) of these files only.

        With `from_message_id`, it is what tools have changed from this message on, and nothing else.

        Raises:
            MessageNotFoundError: the chat has no such message.
            InvalidParamsError: a path lies outside of the chat's folders.
        """
        params = call_params(chatId=self.id, fromMessageId=from_message_id, paths=paths)
        return Diff("chat/diff", await self._session.call("chat/diff", params, timeout))

    # ------------------------------------------------- child chats, commands in the background

    async def children(self, *, timeout: float | None = None) -> list[Child]:
        """Return the child chats that the model has started (its subagents), the oldest first."""
        raw = await self._session.call("chat/get", {"chatId": self.id, "limit": 1}, timeout)
        return [Child(one) for one in raw.get("children") or ()]

    async def sources(self, *, timeout: float | None = None) -> list[Source]:
        """Return the sources of the last answer: passages of files and pages, and which of them it cites."""
        return last_sources((await self.get(limit=200, timeout=timeout)).messages)

    async def search_context(
        self,
        queries: str | Sequence[str],
        *,
        limit: int | None = None,
        budget_tokens: int | None = None,
        timeout: float | None = None,
    ) -> FoundContext:
        """Search the chat's context with 1 to 4 phrasings of one question; at most `limit` passages (10).

        Raises:
            FolderUnreadableError: a folder of the chat cannot be used, or cannot be searched.
        """
        params = search_params(queries, limit, budget_tokens)
        return await find_context(self._session, {**params, "chatId": self.id}, timeout)

    async def find_names(
        self,
        text: str,
        kind: Literal["file", "symbol"] = "file",
        *,
        limit: int = 20,
        timeout: float | None = None,
    ) -> list[Json]:
        """Return files by any part of their path, or definitions by the beginning of their name, as JSON.

        They have `name`, `uri`, `path` relative to the folder of the chat, and `line` of a definition.
        """
        params = {"chatId": self.id, "text": text, "kind": kind, "limit": limit}
        return (await self._session.call("context/names", params, timeout))["names"]

    async def jobs(self, *, timeout: float | None = None) -> list[Job]:
        """Return the commands that the model has started in the background, the oldest first."""
        raw = await self._session.call("job/list", {"chatId": self.id}, timeout)
        return [Job(one) for one in raw["jobs"]]

    async def stop_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Stop a command in the background with all its processes, and wait for its end.

        Raises:
            ToolNotFoundError: the chat has no such job.
        """
        return Job(await self._session.call("job/stop", {"chatId": self.id, "id": job_id}, timeout))

    # ------------------------------------------------------------------ copies, view

    async def fork(self, message_id: int | None = None, *, timeout: float | None = None) -> "Chat":
        """Copy the messages up to this one (default: the whole active branch) into a new chat."""
        params = call_params(chatId=self.id, messageId=message_id)
        record = ChatRecord("chat/fork", await self._session.call("chat/fork", params, timeout))
        return Chat(self._session, record.id, record)

    async def export(self, format: "ExportFormat" = "markdown", *, timeout: float | None = None) -> str:
        """Return the chat as a text.

        "markdown" is the active branch, for reading; "json" is everything, for `Client.import_chat`.
        """
        raw = await self._session.call("chat/export", {"chatId": self.id, "format": format}, timeout)
        return raw["content"]

    def attach(self, *, after: int | None = None, tail: int = 100, state: ChatView | None = None) -> LiveChat:
        """Return a live view of the chat, for `async with`; see LiveChat.

        By default it begins with a snapshot of the newest `tail` messages (0 to 1000). With `state`, it
        continues the state of an earlier view. With `after`, it continues after that sequence number and has
        no state of its own.
        """
        return LiveChat(self._session, self.id, after, tail, state)

    # ---------------------------------------------------------------------- private

    async def _send(self, method: str, params: Json, timeout: float | None) -> Any:
        try:
            return await self._session.call(method, params, timeout)
        except ParleyError as error:
            error.client_message_id = params["clientMessageId"]
            raise

    async def _change(self, method: str, params: Json, timeout: float | None) -> ChatRecord:
        raw = await self._session.call(method, {"chatId": self.id, **params}, timeout)
        self.record = ChatRecord(method, raw)
        return self.record
