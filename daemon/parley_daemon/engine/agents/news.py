"""What a model is told of its children before it is asked again.

Theory of operation. A child in the background ends while its parent's model does something else, or nothing.
The model learns of it with its next request: a note stands behind the history, until the model has got the
report. The note is made for the request and is not stored. It says nothing that the chat's own events do not
say to people, and at the end of a request it costs no provider's cache of the beginning.
"""

from collections.abc import Sequence

from parley_daemon.core.children import Children
from parley_daemon.core.records import Message
from parley_daemon.core.subagents import describe_news, find_unread


def find_news(children: Children, history: Sequence[Message]) -> str | None:
    """Return the note on children in the background whose end the model does not know; None: none is."""
    ended = {child.chat_id: child for child in children.members if child.background and not child.is_active}
    if not ended:
        return None
    unread = [ended[id] for id in find_unread(history, list(ended))]
    return describe_news([(one.chat_id, one.status, one.title) for one in unread])
