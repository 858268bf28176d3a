"""One handler per method: read the params, ask the engine, return JSON. Each is found by `handler_for`."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from pydantic import ValidationError

from parley_daemon.server.connection.call import Call, Handler
from parley_daemon.server.handlers import (
    branches,
    chats,
    collection,
    model_configs,
    providers,
    queue,
    search,
    status,
    subscriptions,
    turns,
)
from parley_daemon.server.wire.errors import WireError, invalid_params
from parley_daemon.server.wire.jsonrpc import as_object
from parley_protocol.errors import ErrorCode
from parley_protocol.methods import METHODS
from parley_protocol.models.base import Params, field_problems

Typed = Callable[[Call, Any], Awaitable[Any]]

HANDLERS: dict[str, Typed] = {
    "chat/create": chats.create,
    "chat/get": chats.get,
    "chat/list": chats.list_chats,
    "chat/update": chats.update,
    "chat/setModel": chats.set_model,
    "chat/setContext": collection.set_context,
    "chat/archive": collection.archive,
    "chat/unarchive": collection.unarchive,
    "chat/delete": chats.delete,
    "chat/search": search.search,
    "chat/fork": collection.fork,
    "chat/export": collection.export,
    "chat/import": collection.import_chat,
    "chat/subscribe": subscriptions.subscribe,
    "chat/unsubscribe": subscriptions.unsubscribe,
    "chat/watch": subscriptions.watch,
    "chat/unwatch": subscriptions.unwatch,
    "chat/send": turns.send,
    "chat/ask": turns.ask,
    "chat/interrupt": turns.interrupt,
    "chat/retry": branches.retry,
    "chat/editMessage": branches.edit,
    "chat/rewind": branches.rewind,
    "chat/selectBranch": branches.select,
    "chat/compact": turns.compact,
    "chat/queue/update": queue.update,
    "chat/queue/remove": queue.remove,
    "chat/queue/promote": queue.promote,
    "model/list": providers.list_models,
    "provider/list": providers.list_providers,
    "provider/create": providers.create,
    "provider/update": providers.update,
    "provider/delete": providers.delete,
    "provider/check": providers.check,
    "modelConfig/list": model_configs.list_configs,
    "modelConfig/create": model_configs.create,
    "modelConfig/update": model_configs.update,
    "modelConfig/delete": model_configs.delete,
    "server/status": status.status,
}


LARGE = frozenset({"chat/get", "chat/list", "chat/subscribe", "chat/search", "chat/export"})
"""Methods that only read, and whose answers may be large."""


def handler_for(method: str) -> Handler:
    """Return what answers this method.

    Raises:
        WireError: -32601, the method is unknown or not served by this version.
    """
    typed = HANDLERS.get(method)
    if typed is None:
        known = method in METHODS
        what = "is not served by this version" if known else "is not a method of this daemon"
        raise WireError(ErrorCode.METHOD_NOT_FOUND, f"{method} {what}.")
    model = METHODS[method].params
    assert model is not None and issubclass(model, Params)

    async def handle(call: Call) -> Any:
        return await typed(call, _read(model, call.params))

    return Handler(handle, large=method in LARGE)


def _read(model: type[Params], params: object) -> Params:
    if params is not None and not isinstance(params, dict):
        raise invalid_params([{"path": "", "problem": "The params are a JSON object, sent by name."}])
    try:
        return model.from_wire(as_object(cast("object", params)))
    except ValidationError as error:
        raise invalid_params([problem.to_wire() for problem in field_problems(error)]) from None
