"""Where the rules and instructions of engines in tests come from: the disk, as in a daemon."""

from parley_daemon.adapters.os.project_files import FolderFiles
from parley_daemon.engine.agents.policy.permissions import PolicySources
from parley_daemon.policy_file import parse_project_rules


def policy_sources(folder: str = "/nonexistent") -> PolicySources:
    """Return the sources; `folder` is that of the configuration and home."""
    return PolicySources(FolderFiles(), parse_project_rules, folder, folder)
