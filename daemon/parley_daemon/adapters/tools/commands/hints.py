"""Sentences for the result of a command: what the sandbox has refused, what still ran."""

import re
from collections.abc import Sequence
from typing import Final

from parley_daemon.adapters.tools.commands.denied import Denied, describe_paths
from parley_daemon.ports.sandbox import SandboxState
from parley_daemon.ports.tools import CallContext

_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure in name resolution|Could not resolve host"
    r"|Name or service not known|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|Connection refused"
    r"|Failed to establish a new connection"
    r"|could not resolve|dial tcp",
    re.IGNORECASE,
)
_SOCKETS = re.compile(r"socket|connect|PermissionError.*Errno 13", re.IGNORECASE)
_MAX_RULES: Final = 4
_MAX_RULE_TEXT: Final = 400
_FILES = re.compile(
    r"Read-only file system|EROFS|Permission denied|EACCES|Operation not permitted|Device or resource busy"
)


def explain_refusals(
    output: str, status: int, state: SandboxState, command: str, context: CallContext
) -> list[str]:
    """Return sentences about a failure that the sandbox may have caused."""
    if status == 0 or state.kind == "none":
        return []
    hints: list[str] = []
    is_refused = bool(_FILES.search(output))
    network = state.reach(context.network)
    if network != "all" and (
        _NETWORK.search(output) or (state.kind == "landlock" and is_refused and _SOCKETS.search(output))
    ):
        reach = "a loopback of its own" if network == "loopback" else "no network"
        whom = "this command" if context.network is not None else "commands"
        hints.append(f"The sandbox gives {whom} {reach} (the setting sandbox.network).")
        hints += _name_rules(command)
    if is_refused:
        if context.mode == "plan":
            hints.append("In the mode plan, commands cannot change files.")
        else:
            where = ", ".join(context.workspace.roots) or "no folder"
            hints.append(
                f"The sandbox lets commands write below {where} and $TMPDIR only, and never to the"
                " configuration and hooks of git, to .parley, or to where parleyd is installed."
            )
    return hints


def _name_rules(command: str) -> list[str]:
    """Return a sentence about the rules with which a person can let a command line reach more."""
    from parley_daemon.core.agents.policy.reach import opening_rules  # few commands fail like this
    from parley_daemon.core.agents.rule_texts import rule_text

    texts = [rule_text(rule) for rule in opening_rules(command)]
    if not texts:
        return ["No rule can open it for a command line that cannot be read: make it a simple command."]
    if len(texts) > _MAX_RULES or sum(map(len, texts)) > _MAX_RULE_TEXT:
        return ["A person can open it by a rule with network for each command: run fewer at once."]
    named = "; ".join(texts)
    if len(texts) == 1:
        return [f"A person can open it for this command by the rule: {named} (parley permission add)."]
    return [
        f"A person can open it for this line by a rule for each command: {named} (parley permission add)."
    ]


def describe_denied(denied: Denied, exposed: str) -> list[str]:
    """Return sentences about what rules keep from a command, and what they could not."""
    notes: list[str] = []
    if denied.hidden:
        notes.append(f"By rules, commands see nothing of {describe_paths(denied.hidden)}.")
    if denied.read_only:
        notes.append(f"By rules, commands cannot change {describe_paths(denied.read_only)}.")
    if denied.is_cut:
        notes.append("There are too many files to find all that rules deny: commands may see some of it.")
    if exposed:
        notes.append(f"Rules deny {exposed}; the sandbox could not keep the command from it.")
    return notes


def describe_left_behind(names: Sequence[str]) -> list[str]:
    """Return a sentence about the processes that still ran when the command had ended."""
    if not names:
        return []
    what = "One process" if len(names) == 1 else f"{len(names)} processes"
    return [
        f"{what} still ran when the command had ended and {'was' if len(names) == 1 else 'were'} ended:"
        f" {', '.join(names)}. To keep a process running, start it with background."
    ]
