"""Who is told of every chat of an owner: that it was created, changed, deleted. Knows no wire."""

from parley_daemon.engine.chats.snapshot import Change, ChatView, Watcher


class Watchers:
    """The watchers of each owner. Telling them is one call each; a watcher must not block or raise."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Watcher, ...]] = {}

    def add(self, owner: str, watcher: Watcher) -> None:
        """Let a watcher hear of every chat of an owner."""
        self.remove(owner, watcher)
        self._of[owner] = (*self._of.get(owner, ()), watcher)

    def remove(self, owner: str, watcher: Watcher) -> None:
        """Let a watcher hear no more."""
        left = tuple(one for one in self._of.get(owner, ()) if one is not watcher)
        if left:
            self._of[owner] = left
        else:
            self._of.pop(owner, None)

    def changed(self, view: ChatView) -> None:
        """Tell that a chat changed."""
        self.tell(view, "changed")

    def tell(self, view: ChatView, change: Change) -> None:
        """Tell what became of a chat."""
        for watcher in self._of.get(view.chat.owner, ()):
            watcher.chat_changed(view, change)
