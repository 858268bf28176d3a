"""What a child chat may do at most: what its parent may do, and no more.

Theory of operation. A child is decided on with its own settings and rules, and with those of all chats above
it. Whatever narrows one of these narrows the child: the lowest mode counts, nobody is asked if a chat above
asks nobody, and a folder counts only if it lies in the folders of each. So the decision on a call of a child
is as strict as that on the same call of its parent, or stricter. The chats above are taken as they are at
each step, so what a parent may not do from now on, its children may not do, either.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from parley_daemon.core.agents.globs import is_below
from parley_daemon.core.agents.rules import AgentMode

_ORDER: Final[tuple[AgentMode, ...]] = ("off", "plan", "ask", "edits", "auto")


def lowest_mode(modes: Iterable[AgentMode | None]) -> AgentMode:
    """Return the mode that allows least. None counts as "off"."""
    return _ORDER[min([_ORDER.index(mode or "off") for mode in modes], default=0)]


def common_roots(roots: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that lie in both lists of folders, without repetitions. All paths are absolute."""
    found: dict[str, None] = {}
    for one in roots:
        for other in others:
            if is_below(one, other):
                found[one] = None
            elif is_below(other, one):
                found[other] = None
    return tuple(found)
