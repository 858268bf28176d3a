"""The table of methods: everything that is known of a method stands once, in its row here.

Theory of operation. A row says what the method is called, what it takes and returns, what it does, and
which function of the daemon answers it. Everything else is derived from the rows:

* the daemon finds the handler of a request by `handler`, reads the params with `params`, and limits how many
  requests with `has_large_answer` run at once (`parley_daemon.server.handlers`);
* the answer to `initialize` lists the methods of this protocol (`features`);
* the client reads results with `result`;
* `python -m parley_protocol.schema` writes the JSON Schema, the TypeScript types and the rows of the tables
  in protocol/README.md.

Models and handlers are named by strings and imported at first use. So this module imports the standard
library only, and a process loads the models of those methods that it really gets or sends. A test resolves
every name, and another one compares the handlers' annotations with the table.

Methods that are plain LSP (text documents, workspace folders, log messages) are not in the table. They work
as LSP 3.17 describes them.

To add a method:

1. Write `<Name>Params(Params)` in the module of its group under `parley_protocol/models/` (`chats.py`,
   `turns.py`, ...), named after the method: `chat/setModel` has `ChatSetModelParams`. If no existing object
   can be the result, write `<Name>Result(Wire)` there too. Give both docstrings.
2. Add its row here with `_request`.
3. Write the handler in the module of its group under `parley_daemon/server/handlers/`.
4. Run `python -m parley_protocol.schema`.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from parley_protocol.models.base import Wire


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
    """One row of the table.

    `params_name` and `result_name` name models as "module.Class", relative to `parley_protocol.models`. A
    result may also be "list[module.Class]". None stands for no params, or for a result of null.

    `handler` names the function that answers the method as "module.function", relative to
    `parley_daemon.server.handlers`. LSP's own methods (`is_lsp`) have none: the connection itself answers
    them.

    A method that `has_large_answer` only reads, and its answer may take megabytes.
    """

    name: str
    direction: Direction
    kind: Kind
    params_name: str | None
    result_name: str | None
    doc: str
    is_lsp: bool = False
    handler: str | None = None
    has_large_answer: bool = False

    @property
    def params(self) -> "type[Wire] | None":
        """The model of the params, imported at first use; None for a method without params."""
        return None if self.params_name is None else _load_type(self.params_name)

    @property
    def result(self) -> Any:
        """The type of the result, imported at first use: a model, a `list[Model]`, or None for null."""
        return None if self.result_name is None else _load_type(self.result_name)


@cache
def _load_type(name: str) -> Any:
    if name.startswith("list["):
        return list[_load_type(name.removeprefix("list[").removesuffix("]"))]
    module, _, model = name.rpartition(".")
    return getattr(import_module(f"parley_protocol.models.{module}"), model)


_IN, _OUT, _BOTH = Direction.CLIENT_TO_SERVER, Direction.SERVER_TO_CLIENT, Direction.BOTH
_REQUEST, _NOTIFICATION = Kind.REQUEST, Kind.NOTIFICATION


def _lsp(
    name: str, direction: Direction, kind: Kind, params: str | None, result: str | None, *, doc: str
) -> Method:
    """Return the row of one of LSP's own methods, which this protocol specialises."""
    return Method(name, direction, kind, params, result, doc, is_lsp=True)


def _request(
    name: str, params: str, result: str | None, *, handler: str, has_large_answer: bool = False, doc: str
) -> Method:
    """Return the row of a request of this protocol."""
    return Method(
        name, _IN, _REQUEST, params, result, doc, handler=handler, has_large_answer=has_large_answer
    )


# fmt: off
GROUPS: Final[dict[str, tuple[Method, ...]]] = {
    "Opening and closing": (
        _lsp("initialize", _IN, _REQUEST, "server.InitializeParams", "server.InitializeResult",
             doc="Open the connection: who the client is, what the daemon can do."),
        _lsp("initialized", _IN, _NOTIFICATION, "server.InitializedParams", None,
             doc="The client has read the response to `initialize`."),
        _lsp("shutdown", _IN, _REQUEST, None, None,
             doc="Announce the end of the connection. Later requests are refused."),
        _lsp("exit", _IN, _NOTIFICATION, None, None,
             doc="End the connection. A daemon that serves other clients keeps running."),
        _lsp("$/cancelRequest", _BOTH, _NOTIFICATION, "server.CancelParams", None,
             doc="Cancel a request. It still gets a response: error -32800."),
        _lsp("$/progress", _OUT, _NOTIFICATION, "server.ProgressParams", None,
             doc="Deliver one event under a token that the client chose."),
        _lsp("window/workDoneProgress/cancel", _IN, _NOTIFICATION,
             "server.WorkDoneProgressCancelParams", None,
             doc="Interrupt the turn of the `chat/ask` that has this work-done token."),
    ),
    "Chats": (
        _request("chat/create", "chats.ChatCreateParams", "chats.ChatCreateResult",
                 handler="chats.create",
                 doc="Create a chat, empty or with an existing history."),
        _request("chat/get", "chats.ChatGetParams", "chats.ChatGetResult",
                 handler="chats.get", has_large_answer=True,
                 doc="Read a chat and messages of its active branch."),
        _request("chat/file", "chats.ChatFileParams", "parts.PartDelta",
                 handler="chats.file", has_large_answer=True,
                 doc="Read a whole part of a message that was delivered by reference."),
        _request("chat/list", "chats.ChatListParams", "chats.ChatListResult",
                 handler="chats.list_chats", has_large_answer=True,
                 doc="List chats, one page at a time."),
        _request("chat/update", "chats.ChatUpdateParams", "objects.Chat",
                 handler="chats.update",
                 doc="Change a chat's title, system prompt, settings or metadata."),
        _request("chat/setModel", "chats.ChatSetModelParams", "objects.Chat",
                 handler="chats.set_model",
                 doc="Choose the model for the chat's next turns."),
        _request("chat/setContext", "chats.ChatSetContextParams", "objects.Chat",
                 handler="collection.set_context",
                 doc="Choose the files that the chat may look at."),
        _request("chat/archive", "chats.ChatArchiveParams", "objects.Chat",
                 handler="collection.archive",
                 doc="Archive a chat and its children. Refused with 1003 while a turn runs."),
        _request("chat/unarchive", "chats.ChatUnarchiveParams", "objects.Chat",
                 handler="collection.unarchive",
                 doc="Restore an archived chat and its children."),
        _request("chat/pin", "chats.ChatPinParams", "objects.Chat",
                 handler="chats.pin",
                 doc="Pin or unpin a chat."),
        _request("chat/delete", "chats.ChatDeleteParams", "chats.ChatDeleteResult",
                 handler="chats.delete",
                 doc="Delete chats permanently. Running turns are interrupted first."),
        _request("chat/fork", "chats.ChatForkParams", "objects.Chat",
                 handler="collection.fork",
                 doc="Copy the path from the root to a message into a new chat."),
        _request("chat/search", "chats.ChatSearchParams", "chats.ChatSearchResult",
                 handler="chats.search", has_large_answer=True,
                 doc="Search for messages by text and for chats by title."),
        _request("chat/export", "chats.ChatExportParams", "chats.ChatExportResult",
                 handler="collection.export", has_large_answer=True,
                 doc="Export a chat as JSON or Markdown."),
        _request("chat/import", "chats.ChatImportParams", "objects.Chat",
                 handler="collection.import_chat",
                 doc="Import an exported chat."),
        _request("chat/subscribe", "chats.ChatSubscribeParams", "chats.ChatSubscribeResult",
                 handler="subscriptions.subscribe", has_large_answer=True,
                 doc="Stream every event of a chat, starting with a snapshot or after a given `seq`."),
        _request("chat/unsubscribe", "chats.ChatUnsubscribeParams", None,
                 handler="subscriptions.unsubscribe",
                 doc="End the subscription with this token."),
        _request("chat/watch", "chats.ChatWatchParams", None,
                 handler="subscriptions.watch",
                 doc="Stream the creation, change and deletion of all chats, without message parts."),
        _request("chat/unwatch", "chats.ChatUnwatchParams", None,
                 handler="subscriptions.unwatch",
                 doc="End the watch with this token."),
    ),
    "Turns": (
        _request("chat/send", "turns.ChatSendParams", "turns.ChatSendResult",
                 handler="turns.send",
                 doc="Send a message. The response comes when it is stored, before the turn's first event."),
        _request("chat/ask", "turns.ChatAskParams", "turns.ChatAskResult",
                 handler="turns.ask",
                 doc="Send a message. The response comes when its turn has ended."),
        _request("chat/interrupt", "turns.ChatInterruptParams", "objects.Chat",
                 handler="turns.interrupt",
                 doc="Interrupt the running turn. The partial answer is kept and the queue continues."),
        _request("chat/retry", "turns.ChatRetryParams", "turns.ChatSendResult",
                 handler="turns.retry",
                 doc="Answer a user message again. The new answer is a sibling of the earlier one."),
        _request("chat/editMessage", "turns.ChatEditMessageParams", "turns.ChatSendResult",
                 handler="turns.edit_message",
                 doc="Edit a user message: the new version is a sibling of it and gets an answer."),
        _request("chat/rewind", "turns.ChatRewindParams", "objects.Chat",
                 handler="turns.rewind",
                 doc="Make the active branch end at a message."),
        _request("chat/selectBranch", "turns.ChatSelectBranchParams", "objects.Chat",
                 handler="turns.select_branch",
                 doc="Make the active branch pass through a message and end at its newest descendant."),
        _request("chat/queue/update", "turns.ChatQueueUpdateParams", "turns.ChatQueueResult",
                 handler="turns.update_queued",
                 doc="Change the content of a queued message."),
        _request("chat/queue/remove", "turns.ChatQueueRemoveParams", "turns.ChatQueueResult",
                 handler="turns.remove_queued",
                 doc="Remove a message from the queue."),
        _request("chat/queue/promote", "turns.ChatQueuePromoteParams", "turns.ChatQueueResult",
                 handler="turns.promote_queued",
                 doc="Run a queued message next, interrupting the running turn."),
        _request("chat/compact", "turns.ChatCompactParams", "objects.Message",
                 handler="turns.compact",
                 doc="Summarise the history for later model requests. The visible history stays the same."),
        _request("chat/respond", "turns.ChatRespondParams", "turns.ChatRespondResult",
                 handler="turns.respond",
                 doc="Answer an action request. The first answer counts."),
    ),
    "Models and providers": (
        _request("model/list", "providers.ModelListParams", "providers.ModelListResult",
                 handler="providers.list_models",
                 doc="List the providers and their models."),
        _request("provider/list", "providers.ProviderListParams", "providers.ProviderListResult",
                 handler="providers.list_providers",
                 doc="List the configurations of providers."),
        _request("provider/create", "providers.ProviderCreateParams", "providers.Provider",
                 handler="providers.create",
                 doc="Configure a provider."),
        _request("provider/update", "providers.ProviderUpdateParams", "providers.Provider",
                 handler="providers.update",
                 doc="Change a provider's configuration."),
        _request("provider/delete", "providers.ProviderDeleteParams", None,
                 handler="providers.delete",
                 doc="Delete a provider's configuration."),
        _request("provider/check", "providers.ProviderCheckParams", "providers.ProviderCheckResult",
                 handler="providers.check",
                 doc="Test a provider and report its answer."),
        _request("modelConfig/list", "providers.ModelConfigListParams", "providers.ModelConfigListResult",
                 handler="model_configs.list_configs",
                 doc="List the configurations of models."),
        _request("modelConfig/create", "providers.ModelConfigCreateParams", "providers.ModelConfig",
                 handler="model_configs.create",
                 doc="Configure a model."),
        _request("modelConfig/update", "providers.ModelConfigUpdateParams", "providers.ModelConfig",
                 handler="model_configs.update",
                 doc="Change a model's configuration."),
        _request("modelConfig/delete", "providers.ModelConfigDeleteParams", None,
                 handler="model_configs.delete",
                 doc="Delete a model's configuration."),
    ),
    "Tools": (
        _request("tool/list", "agents.tools.ToolListParams", "agents.tools.ToolListResult",
                 handler="tools.list_tools", has_large_answer=True,
                 doc="List the tools of a chat, and what the policy says of each."),
        _request("tool/register", "agents.client_tools.ToolRegisterParams",
                 "agents.client_tools.ToolNamesResult",
                 handler="client_tools.register",
                 doc="Offer tools that this client runs, for as long as it is connected."),
        _request("tool/unregister", "agents.client_tools.ToolUnregisterParams",
                 "agents.client_tools.ToolNamesResult",
                 handler="client_tools.unregister",
                 doc="Withdraw tools that this client offers."),
        _request("job/list", "agents.jobs.JobListParams", "agents.jobs.JobListResult",
                 handler="jobs.list_jobs",
                 doc="List the commands that a chat's model has started in the background."),
        _request("job/stop", "agents.jobs.JobStopParams", "agents.jobs.Job",
                 handler="jobs.stop",
                 doc="Stop such a command, with all its processes."),
    ),
    "MCP servers": (
        _request("mcp/list", "agents.mcp.McpListParams", "agents.mcp.McpListResult",
                 handler="mcp.list_servers", has_large_answer=True,
                 doc="List the MCP servers, and what has become of each."),
        _request("mcp/add", "agents.mcp.McpAddParams", "agents.mcp.McpListResult",
                 handler="mcp.add",
                 doc="Add a server. It is started when it is first needed."),
        _request("mcp/update", "agents.mcp.McpUpdateParams", "agents.mcp.McpListResult",
                 handler="mcp.update",
                 doc="Change a server that was added."),
        _request("mcp/remove", "agents.mcp.McpRemoveParams", "agents.mcp.McpListResult",
                 handler="mcp.remove",
                 doc="Stop and remove a server that was added, with its secrets."),
        _request("mcp/restart", "agents.mcp.McpRestartParams", "agents.mcp.McpListResult",
                 handler="mcp.restart",
                 doc="Start a server now, again if it runs."),
        _request("mcp/authenticate", "agents.mcp.McpAuthenticateParams", "agents.mcp.McpAuthenticateResult",
                 handler="mcp.authenticate",
                 doc="Begin the authorization of a server by a person."),
        _request("mcp/resources", "agents.mcp_content.McpResourcesParams",
                 "agents.mcp_content.McpResourcesResult",
                 handler="mcp_content.resources", has_large_answer=True,
                 doc="List the resources of a chat's servers, to refer to in messages."),
        _request("mcp/prompts", "agents.mcp_content.McpPromptsParams", "agents.mcp_content.McpPromptsResult",
                 handler="mcp_content.prompts", has_large_answer=True,
                 doc="List the prompts of a chat's servers, to use as slash commands."),
    ),
    "Permissions": (
        _request("permission/list", "agents.permissions.PermissionListParams",
                 "agents.permissions.PermissionListResult",
                 handler="permissions.list_rules", has_large_answer=True,
                 doc="List the rules of what models may do."),
        _request("permission/add", "agents.permissions.PermissionAddParams",
                 "agents.permissions.PermissionRule",
                 handler="permissions.add",
                 doc="Add a rule. Its examples are tested first."),
        _request("permission/remove", "agents.permissions.PermissionRemoveParams", None,
                 handler="permissions.remove",
                 doc="Remove a rule that was added or answered."),
        _request("permission/explain", "agents.permissions.PermissionExplainParams",
                 "agents.permissions.PermissionExplainResult",
                 handler="permissions.explain",
                 doc="Say what would become of a tool call, and why. Nothing is run."),
        _request("workspace/trust", "agents.permissions.WorkspaceTrustParams",
                 "agents.permissions.WorkspaceTrustResult",
                 handler="permissions.trust",
                 doc="Trust a file of a project with exactly its present content, or withdraw that."),
        _request("agent/instructions", "agents.permissions.AgentInstructionsParams",
                 "agents.permissions.AgentInstructionsResult",
                 handler="permissions.instructions", has_large_answer=True,
                 doc="List the files AGENTS.md that count for a chat, and those that wait for trust."),
    ),
    "Workspace": (
        _request("chat/checkpoints", "agents.checkpoints.ChatCheckpointsParams",
                 "list[agents.checkpoints.Checkpoint]",
                 handler="checkpoints.list_checkpoints", has_large_answer=True,
                 doc="List what tools changed, turn by turn, the newest first."),
        _request("chat/restore", "agents.checkpoints.ChatRestoreParams",
                 "agents.checkpoints.ChatRestoreResult",
                 handler="checkpoints.restore",
                 doc="Put files back that a turn changed and nobody else since."),
        _request("chat/gitChanges", "workspace.ChatGitChangesParams", "list[workspace.GitChange]",
                 handler="workspace.list_changes", has_large_answer=True,
                 doc="List the files that have changed in the chat's folders."),
        _request("chat/diffStatus", "workspace.ChatDiffStatusParams", "diff_status.DiffStatus",
                 handler="workspace.measure_changes",
                 doc="Return how much has changed in the chat's folders, and the state of its pull request."),
        _request("chat/diff", "workspace.ChatDiffParams", "workspace.Diff",
                 handler="workspace.diff_changes", has_large_answer=True,
                 doc="Return what has changed in the chat's folders as one diff."),
    ),
    "Context": (
        _request("context/search", "context.ContextSearchParams", "context.ContextSearchResult",
                 handler="context.search", has_large_answer=True,
                 doc="Find passages of files that fit a question, in the context of a chat or in folders."),
        _request("context/names", "context.ContextNamesParams", "context.ContextNamesResult",
                 handler="context.find_names",
                 doc="Return the files or definitions that a person may mean who types a name."),
        _request("context/status", "context.ContextStatusParams", "context.ContextStatusResult",
                 handler="context.get_status",
                 doc="Return how far folders are indexed."),
    ),
    "Server": (
        _request("server/status", "server.ServerStatusParams", "server.ServerStatus",
                 handler="status.get_status",
                 doc="Return the daemon's version, load and configuration state."),
    ),
}
"""The rows by the group under which the protocol page lists them."""
# fmt: on

METHODS: Final[dict[str, Method]] = {row.name: row for rows in GROUPS.values() for row in rows}
"""Every method by its name, in the order of the protocol page."""
