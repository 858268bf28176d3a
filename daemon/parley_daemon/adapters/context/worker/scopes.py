"""Which files a search may see."""

from parley_daemon.adapters.context.worker.sources.exclusion import find_reason
from parley_daemon.core.agents.globs import matches_any, matches_below, parse_path, split_path
from parley_daemon.ports.context import ContextScope

_KEPT = 20_000


class Filter:
    """The rules of a scope for one of its folders. `shown`: its path in the scope, `real`: without links."""

    def __init__(self, scope: ContextScope, shown: str, real: str) -> None:
        self._include = [parse_path(glob.lstrip("/")) for glob in scope.include]
        self._exclude = [parse_path(glob.lstrip("/")) for glob in scope.exclude]
        self._withheld = scope.withheld
        self._tops = {shown.rstrip("/"), real}
        self._known: dict[str, bool] = {}

    def allows(self, path: str) -> bool:
        """Return whether a file may be seen. `path` is relative to the folder."""
        found = self._known.get(path)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[path] = self._decide(path)
        return found

    def _decide(self, path: str) -> bool:
        names = split_path(path)
        if self._include and not any(matches_below(glob, names, 0) for glob in self._include):
            return False
        if any(matches_below(glob, names, 0) for glob in self._exclude):
            return False
        return not self._withheld or not any(
            matches_any(self._withheld, f"{top}/{path}") for top in self._tops
        )


def allows_file(scope: ContextScope, path: str, real: str) -> bool:
    """Return whether one of the single files of a scope may be seen."""
    if find_reason(real.lstrip("/")) == "secret":
        return False
    return not scope.withheld or not any(matches_any(scope.withheld, one) for one in {path, real})
