"""What the modes of a chat decide where no rule matches."""

import msgspec

from parley_daemon.core.agents.rules import AgentMode, ChatFacts, Effect
from parley_daemon.core.agents.tools import Inspection, PathUse, ToolKind

MODE_TABLE: dict[tuple[ToolKind, AgentMode], Effect] = {
    ("edit", "plan"): "deny",
    ("edit", "ask"): "ask",
    ("edit", "edits"): "allow",
    ("edit", "auto"): "allow",
    **{
        (kind, mode): "allow"
        for kind in ("read", "agent", "ask")
        for mode in ("plan", "ask", "edits", "auto")
    },
    **{(kind, mode): "ask" for kind in ("execute", "fetch") for mode in ("plan", "ask", "edits", "auto")},
}
"""The decision where no rule matches, for paths below the roots. The functions below know the exceptions."""


class ModeDecision(msgspec.Struct, frozen=True, gc=False):
    """What the mode says of one thing that a call does, with a sentence that says why."""

    effect: Effect
    why: str


def decide_path(use: PathUse, mode: AgentMode) -> ModeDecision:
    """Return what a mode says of a path that a call reads or changes."""
    if use.access == "read":
        if use.place == "root" or use.root is not None:
            return ModeDecision("allow", "Files below the folders of the chat may be read.")
        return ModeDecision("ask", f"{use.path} lies outside of the folders of the chat.")
    if use.place == "protected":
        return ModeDecision(
            "deny", f"{use.path} is protected. No tool may change it, whatever the rules say."
        )
    if use.place == "elsewhere":
        return ModeDecision(
            "deny", f"{use.path} lies outside of the folders of the chat, and is not changed."
        )
    effect = MODE_TABLE["edit", mode]
    if effect == "deny":
        return ModeDecision(effect, "In the mode plan, no file is changed.")
    return ModeDecision(effect, f"In the mode {mode}, {_POLITE[effect]} files are changed.")


def decide_command(chat: ChatFacts) -> ModeDecision:
    """Return what a mode says of a shell command."""
    if chat.mode == "plan":
        if chat.is_sandboxed:
            return ModeDecision("ask", "In the mode plan, you are asked before a command runs.")
        return ModeDecision(
            "deny", "In the mode plan, commands run only in a sandbox, and there is none that holds."
        )
    if chat.mode != "auto":
        return ModeDecision("ask", f"In the mode {chat.mode}, you are asked before a command runs.")
    if chat.is_sandboxed:
        return ModeDecision("allow", "In the mode auto, commands run unasked in the sandbox.")
    return ModeDecision(
        "ask", "In the mode auto, commands run unasked only in a sandbox, and there is none that holds."
    )


def decide_tool(kind: ToolKind, chat: ChatFacts, name: str, call: Inspection) -> ModeDecision:
    """Return what a mode says of a call of which no path, command or host is known."""
    if kind == "execute":
        if chat.mode == "plan":
            return ModeDecision("deny", f"In the mode plan, {name} does not run: it is in no sandbox.")
        return ModeDecision("ask", f"You are asked before {name} runs: it is in no sandbox.")
    if call.asks in ("question", "plan", "elicitation") and not chat.interactive:
        return ModeDecision("deny", "Nobody is there to answer: the chat is not interactive.")
    effect = MODE_TABLE[kind, chat.mode]
    if kind == "fetch":
        where = f" from {call.host}" if call.host else ""
        return ModeDecision(
            effect, f"You are asked before anything is fetched{where}, unless a rule allows the host."
        )
    if effect == "deny":
        return ModeDecision(effect, f"In the mode {chat.mode}, {name} does not run: it can change files.")
    return ModeDecision(effect, f"In the mode {chat.mode}, {_POLITE[effect]} {name} runs.")


_POLITE: dict[Effect, str] = {"allow": "without asking", "ask": "you are asked before"}
