"""Questions of servers to people (elicitation)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import mcp_types as types

from parley_daemon.adapters.mcp.host.contents import as_dict, as_list, dump
from parley_daemon.adapters.mcp.host.lists import MAX_SCHEMA
from parley_daemon.adapters.mcp.host.texts import cut_text
from parley_daemon.ports.mcp import McpQuestion, McpReply

MAX_QUESTIONS = 4
"""Questions of a server that are open at once."""

_MAX_MESSAGE = 4000
_MAX_URL = 8000

Ask = Callable[[McpQuestion], Awaitable[McpReply]]


class QuestionError(Exception):
    """A question cannot be asked. The message is a sentence."""


def read_question(params: Mapping[str, Any]) -> McpQuestion:
    """Return a question in the protocol's form.

    Raises:
        QuestionError: it is not valid, or this client cannot ask it.
    """
    message = cut_text(params.get("message"), _MAX_MESSAGE) or ""
    if params.get("mode", "form") == "url":
        url = params.get("url")
        if not isinstance(url, str) or len(url) > _MAX_URL or not _is_page(url):
            raise QuestionError("The address to open is not valid: only http and https are possible.")
        return McpQuestion(message, None, url)
    schema = as_dict(params.get("requestedSchema"))
    text = dump(schema)
    if text is None or len(text) > MAX_SCHEMA or schema.get("type") != "object":
        raise QuestionError("The form to fill in is not valid.")
    return McpQuestion(message, schema)


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if "@" in parts.netloc:  # a user name that looks like another host
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def to_result(reply: McpReply) -> types.ElicitResult:
    """Return a reply in the protocol's form."""
    return types.ElicitResult(
        action=reply.action, content=reply.content if reply.action == "accept" else None
    )


async def answer_all(requests: Any, ask: Ask) -> types.InputResponses:
    """Ask one after the other what an answer asks (era 2026-07-28).

    Raises:
        QuestionError: the server asks what this client cannot answer.
    """
    asked = as_dict(requests)
    if len(asked) > MAX_QUESTIONS:
        raise QuestionError(f"The server asks more than {MAX_QUESTIONS} questions at once.")
    replies: types.InputResponses = {}
    for key, request in asked.items():
        method = as_dict(request).get("method")
        if method != "elicitation/create":
            raise QuestionError(
                "The server asks for what is not offered here (a model's answer, or folders)."
            )
        replies[key] = to_result(await ask(read_question(as_dict(as_dict(request).get("params")))))
    return replies


async def visit_all(data: Any, ask: Ask) -> bool:
    """Send a person to the pages that a refused call needs first. Return whether all were accepted.

    Raises:
        QuestionError: the error does not say which pages.
    """
    pages = as_list(as_dict(data).get("elicitations"))
    if not 0 < len(pages) <= MAX_QUESTIONS:
        raise QuestionError("The server does not say which page has to be visited first.")
    for page in pages:
        reply = await ask(read_question({**as_dict(page), "mode": "url"}))
        if reply.action != "accept":
            return False
    return True
