"""What a model is told of its tools and by people, after the system prompt of the chat."""

from parley_daemon.engine.agents.toolset import Toolset

_MODES = {
    "plan": (
        "You are in the mode plan: look at things and make a plan, but change nothing. Files cannot be "
        "edited."
    ),
    "ask": "A person is asked before you change a file or run a command.",
    "edits": "You may edit files below these folders. A person is asked before you run a command.",
    "auto": "You may edit files below these folders and run commands in a sandbox.",
}


def extend_prompt(
    system_prompt: str | None, toolset: Toolset, instructions: str | None, *, has_tools: bool
) -> str | None:
    """Return the system prompt of a model in such a chat, with what people tell it in AGENTS.md."""
    parts = [system_prompt, _describe(toolset) if has_tools else None, instructions]
    return "\n\n".join([part for part in parts if part]) or system_prompt


def _describe(toolset: Toolset) -> str:
    lines: list[str] = []
    roots = toolset.workspace.roots
    if roots:
        lines.append("You work in these folders: " + ", ".join(roots) + ".")
    elif toolset.workspace.problem is not None:
        lines.append(f"You have no folder to work in. {toolset.workspace.problem}")
    mode = _MODES.get(toolset.facts.mode)
    if mode is not None:
        lines.append(mode)
    if not toolset.facts.interactive:
        lines.append("Nobody answers questions: what would be asked is refused at once.")
    return "\n".join(lines)
