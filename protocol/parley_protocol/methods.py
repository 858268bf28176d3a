"""The one table of methods: name, direction, kind, params, result, one line of documentation.

Dispatch, client calls, schema, TypeScript types and the protocol page are derived from it or tested
against it. Methods that are plain LSP (text documents, workspace folders, edits, log messages) are not in
it: LSP 3.17 says what they are. Knows no handler.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from parley_protocol.models import chats, objects, providers, server, turns, workspace
from parley_protocol.models.base import Params, Wire


class Direction(Enum):
    """Who sends the message."""

    CLIENT_TO_SERVER = "client->server"
    SERVER_TO_CLIENT = "server->client"
    BOTH = "both"


class Kind(Enum):
    """Whether the message is answered."""

    REQUEST = "request"
    NOTIFICATION = "notification"


@dataclass(frozen=True, slots=True)
class Method:
    """One row. `result` is a model, a `list[Model]`, or None for an answer of null (or no answer).

    `built` says that the daemon of this version serves it: then, and only then, its name is in `features`
    (base methods of the connection are always there and in no list). Everything else answers -32601.
    """

    name: str
    direction: Direction
    kind: Kind
    params: type[Wire] | None
    result: Any
    doc: str
    built: bool

    @property
    def is_custom(self) -> bool:
        """Whether the method is this protocol's own, and not one of LSP's that it specialises."""
        return self.params is not None and issubclass(self.params, Params)


_IN, _OUT, _BOTH = Direction.CLIENT_TO_SERVER, Direction.SERVER_TO_CLIENT, Direction.BOTH
_REQUEST, _NOTIFICATION = Kind.REQUEST, Kind.NOTIFICATION


def _lsp(
    name: str,
    direction: Direction,
    kind: Kind,
    params: type[Wire] | None,
    result: type[Wire] | None,
    doc: str,
) -> Method:
    """One of LSP's own methods, which this protocol specialises."""
    return Method(name, direction, kind, params, result, doc, built=True)


def _request(name: str, params: type[Params], result: Any, doc: str) -> Method:
    """A request of this protocol that this version serves."""
    return Method(name, _IN, _REQUEST, params, result, doc, built=True)


def _later(name: str, params: type[Params], result: Any, doc: str) -> Method:
    """A request of this protocol that this version does not serve yet."""
    return Method(name, _IN, _REQUEST, params, result, doc, built=False)


# fmt: off
_TABLE = (
    # The connection
    _lsp("initialize", _IN, _REQUEST, server.InitializeParams, server.InitializeResult,
         "Open the connection: who the client is, what the daemon can do."),
    _lsp("initialized", _IN, _NOTIFICATION, server.InitializedParams, None,
         "The client has read the answer to `initialize`."),
    _lsp("shutdown", _IN, _REQUEST, None, None,
         "Announce the end of the connection; later requests are refused."),
    _lsp("exit", _IN, _NOTIFICATION, None, None,
         "End the connection; a daemon that serves others goes on."),
    _lsp("$/cancelRequest", _BOTH, _NOTIFICATION, server.CancelParams, None,
         "Cancel a request; it still gets its answer, -32800."),
    _lsp("$/progress", _OUT, _NOTIFICATION, server.ProgressParams, None,
         "One event under a token that the client gave."),
    _lsp("window/workDoneProgress/cancel", _IN, _NOTIFICATION, server.WorkDoneProgressCancelParams, None,
         "Interrupt the turn of the `chat/ask` that has this work-done token."),
    # Chats
    _request("chat/create", chats.ChatCreateParams, objects.Chat,
             "Create a chat, empty or with a history to restore."),
    _request("chat/get", chats.ChatGetParams, chats.ChatGetResult,
             "Read a chat and messages of its active branch."),
    _request("chat/list", chats.ChatListParams, chats.ChatListResult,
             "List chats, page by page."),
    _request("chat/update", chats.ChatUpdateParams, objects.Chat,
             "Change title, system prompt, settings or metadata."),
    _request("chat/setModel", chats.ChatSetModelParams, objects.Chat,
             "Choose the model of the chat's next turns."),
    _request("chat/setContext", chats.ChatSetContextParams, objects.Chat,
             "Choose the files that the chat may look at."),
    _request("chat/archive", chats.ChatArchiveParams, objects.Chat,
             "Put a chat and its children away; refused with 1003 while a turn runs."),
    _request("chat/unarchive", chats.ChatUnarchiveParams, objects.Chat,
             "Bring a chat and its children back."),
    _request("chat/delete", chats.ChatDeleteParams, chats.ChatDeleteResult,
             "Delete chats for good; running turns are ended first."),
    _request("chat/fork", chats.ChatForkParams, objects.Chat,
             "Copy the path from the root to a message into a new chat."),
    _request("chat/search", chats.ChatSearchParams, chats.ChatSearchResult,
             "Find messages by their text, and chats by their titles."),
    _request("chat/export", chats.ChatExportParams, chats.ChatExportResult,
             "Write a chat as JSON or Markdown."),
    _request("chat/import", chats.ChatImportParams, objects.Chat,
             "Bring an exported chat back in."),
    _request("chat/subscribe", chats.ChatSubscribeParams, chats.ChatSubscribeResult,
             "Stream every event of a chat, from a snapshot or from a `seq` on."),
    _request("chat/unsubscribe", chats.ChatUnsubscribeParams, None,
             "End the subscription that has this token."),
    _request("chat/watch", chats.ChatWatchParams, None,
             "Stream creation, deletion and change of all chats, without parts."),
    _request("chat/unwatch", chats.ChatUnwatchParams, None,
             "End the watch that has this token."),
    # Turns
    _request("chat/send", turns.ChatSendParams, turns.ChatSendResult,
             "Send a message; answered once it is on disk, before the turn's first event."),
    _request("chat/ask", turns.ChatAskParams, turns.ChatAskResult,
             "Send a message; answered when its turn has ended."),
    _request("chat/interrupt", turns.ChatInterruptParams, objects.Chat,
             "Stop the running turn; the partial answer is kept, the queue goes on."),
    _request("chat/retry", turns.ChatRetryParams, turns.ChatSendResult,
             "Answer a user message again, as a sibling of the answer it had."),
    _request("chat/editMessage", turns.ChatEditMessageParams, turns.ChatSendResult,
             "Say a user message differently, as a sibling of it, and answer that."),
    _request("chat/rewind", turns.ChatRewindParams, objects.Chat,
             "End the active branch at a message."),
    _request("chat/selectBranch", turns.ChatSelectBranchParams, objects.Chat,
             "Run the active branch through a message to its newest leaf."),
    _request("chat/queue/update", turns.ChatQueueUpdateParams, turns.ChatQueueResult,
             "Change the content of a waiting message."),
    _request("chat/queue/remove", turns.ChatQueueRemoveParams, turns.ChatQueueResult,
             "Take a waiting message out of the queue."),
    _request("chat/queue/promote", turns.ChatQueuePromoteParams, turns.ChatQueueResult,
             "Run a waiting message next, interrupting the running turn."),
    _request("chat/compact", turns.ChatCompactParams, objects.Message,
             "Summarise the history for later requests; what is shown stays whole."),
    _later("chat/respond", turns.ChatRespondParams, turns.ChatRespondResult,
           "Answer an action request; the first answer wins."),
    # Models and providers
    _request("model/list", providers.ModelListParams, providers.ModelListResult,
             "List the providers and their models."),
    _request("provider/list", providers.ProviderListParams, providers.ProviderListResult,
             "List how providers are configured."),
    _request("provider/create", providers.ProviderCreateParams, providers.Provider,
             "Configure a provider."),
    _request("provider/update", providers.ProviderUpdateParams, providers.Provider,
             "Change a provider's configuration."),
    _request("provider/delete", providers.ProviderDeleteParams, None,
             "Forget a provider's configuration."),
    _request("provider/check", providers.ProviderCheckParams, providers.ProviderCheckResult,
             "Try a provider and say what it answered."),
    _request("modelConfig/list", providers.ModelConfigListParams, providers.ModelConfigListResult,
             "List how models are configured."),
    _request("modelConfig/create", providers.ModelConfigCreateParams, providers.ModelConfig,
             "Configure a model."),
    _request("modelConfig/update", providers.ModelConfigUpdateParams, providers.ModelConfig,
             "Change a model's configuration."),
    _request("modelConfig/delete", providers.ModelConfigDeleteParams, None,
             "Forget a model's configuration."),
    # Workspace
    _later("chat/gitChanges", workspace.ChatGitChangesParams, list[workspace.GitChange],
           "List the files that the chat changed."),
    _later("chat/diffStatus", workspace.ChatDiffStatusParams, workspace.DiffStatus,
           "Say how the chat's changes stand as a whole."),
    _later("chat/diff", workspace.ChatDiffParams, workspace.Diff,
           "Give the chat's changes as one diff."),
    # Server
    _request("server/status", server.ServerStatusParams, server.ServerStatus,
             "Say what the daemon is and does now."),
)
# fmt: on

METHODS: Final[dict[str, Method]] = {method.name: method for method in _TABLE}
"""Every method by name, in the order of the protocol page."""
