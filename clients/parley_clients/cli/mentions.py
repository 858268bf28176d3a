"""Resources of MCP servers that a typed text names as "@server:uri".

The text stays as it is, and each resource follows it as a reference, which the daemon reads. Only servers of
the chat count: "@media:screen" in a question about CSS is text.
"""

import re
from collections.abc import Collection

from parley_clients.results import Json
from parley_clients.sync import Client

_MENTION = re.compile(r"(?:(?<=\s)|^)@([\w.-]+):(\S+)")
_ENDS = ".,;:!?'»”\u2019" + '"'
_BRACKETS = {")": "(", "]": "[", "}": "{", ">": "<"}


def find_mentions(text: str, servers: Collection[str] | None = None) -> list[str]:
    """Return what looks like resources in a text, each once; those of `servers` only, if it is given.

    Punctuation behind one, and a bracket that was opened before it, are of the sentence.
    """
    found: list[str] = []
    for server, uri in _MENTION.findall(text):
        trimmed = _without_end(uri)
        if trimmed and (servers is None or server in servers):
            found.append(f"@{server}:{trimmed}")
    return list(dict.fromkeys(found))


def with_resources(client: Client, chat_id: str, content: str | list[Json]) -> str | list[Json]:
    """Return the content of a message with references to the resources that its texts name.

    The daemon is asked for the chat's servers only if a text seems to name one.

    Raises:
        ParleyError: they cannot be listed.
    """
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = "\n".join([part["text"] for part in parts if part["type"] == "text"])
    if not find_mentions(text) or "mcp/list" not in client.features:
        return content
    servers = {one["name"] for one in client.mcp.list(chat_id).servers}
    known = {part.get("uri") for part in parts}
    references = [{"type": "reference", "uri": uri} for uri in find_mentions(text, servers)]
    references = [one for one in references if one["uri"] not in known]
    return [*parts, *references] if references else content


def _without_end(uri: str) -> str:
    while uri:
        last = uri[-1]
        is_closed = last in _BRACKETS and uri.count(last) > uri.count(_BRACKETS[last])
        if last not in _ENDS and not is_closed:
            break
        uri = uri[:-1]
    return uri
