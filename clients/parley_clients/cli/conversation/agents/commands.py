"""The commands of `parley chat` about the mode, the tools and the jobs of a chat."""

from parley_clients.cli.arguments import AGENT_MODES
from parley_clients.cli.conversation.outcomes import Context, Outcome, Show
from parley_clients.cli.errors import CommandError, UsageError
from parley_clients.cli.messages import one_line
from parley_clients.cli.steps import last_lines, visible_line
from parley_clients.results import Job, Json
from parley_clients.sync import Chat

_SHOWN_LINES = 20


def mode(context: Context, argument: str) -> Outcome:
    """Show or set the mode."""
    if not argument:
        return Show(f"mode {_agent(context.chat).get('mode') or 'off'}")
    if argument not in AGENT_MODES:
        raise UsageError(f"There is no mode {one_line(argument)}. The modes: {', '.join(AGENT_MODES)}.")
    record = set_mode(context.chat, argument)
    has_root = bool(record["context"].get("repositories"))
    hint = "" if has_root or argument == "off" else ", without a folder: parley chat --agent ID sets this one"
    return Show(f"mode {argument}{hint}")


def set_mode(chat: Chat, mode: str) -> Json:
    """Set the mode of a chat, and return the chat."""
    agent = {**_agent(chat), "mode": mode}
    assert chat.record is not None
    return chat.update(settings={**chat.record.raw["settings"], "agent": agent}).raw


def _agent(chat: Chat) -> Json:
    """Return the settings of agents of a chat, which is read for it."""
    settings: Json = chat.get(limit=1).raw["chat"]["settings"]
    return settings.get("agent") or {}


def tools(context: Context, argument: str) -> Outcome:
    """List the tools of the model."""
    raw = context.client.call("tool/list", {"chatId": context.chat.id}).raw
    rows: list[str] = []
    width = max([len(tool["name"]) for tool in raw["tools"]], default=0)
    for tool in raw["tools"]:
        decision = tool["decision"] if tool["available"] else f"unavailable: {one_line(tool['reason'] or '')}"
        rows.append(f"{one_line(tool['name']):<{width}}  {tool['kind']:<7}  {decision}")
    return Show("\n".join(rows) or "The model of this chat has no tools. /mode ask gives it some.")


def jobs(context: Context, argument: str) -> Outcome:
    """List the commands that the model has started in the background, show the output of one, or stop it."""
    words = argument.split()
    if words[:1] == ["stop"] and len(words) == 2:
        stopped = context.chat.stop_job(words[1])
        return Show("\n".join([_describe_job(stopped), *_notes(stopped)]))
    if len(words) > 1 or words == ["stop"]:
        raise UsageError("Use /jobs, /jobs ID or /jobs stop ID.")
    found = [job for job in context.chat.jobs() if not words or job.id == words[0]]
    if words:
        if not found:
            raise CommandError(f"There is no job {one_line(words[0])}. /jobs lists those that there are.")
        lines = [f"  {line}" for line in last_lines(found[0].tail, _SHOWN_LINES)]
        return Show("\n".join([_describe_job(found[0]), *lines, *_notes(found[0])]))
    if not found:
        return Show("No command was started in the background.")
    hint = "/jobs ID shows the end of an output, /jobs stop ID stops a job."
    return Show("\n".join([*map(_describe_job, found), hint]))


def _notes(job: Job) -> list[str]:
    notes: list[str] = job.raw.get("notes") or []
    return [visible_line(note) for note in notes]


def _describe_job(job: Job) -> str:
    seconds = job.raw["ranMs"] // 1000
    state = one_line(job.raw["state"])
    how = f"{state} for {seconds} s" if job.is_running else f"{state}, exit status {job.raw['exitStatus']}"
    lines = job.command.strip().splitlines() or [""]
    more = " …" if len(lines) > 1 else ""
    return f"{one_line(job.id)}  {how}  {visible_line(lines[0])}{more}"


def nothing_asked(context: Context, argument: str) -> Outcome:
    """Answer a command that belongs to a question."""
    raise CommandError("Nothing is asked at the moment.")
