"""The results of calls that did not run, or not to their end, in words that the model reads."""

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.core.agents.answers import read_reason
from parley_daemon.core.parts import ToolCall, ToolOutcome, ToolResult

OUTPUT_KEPT = 16 * 1024
"""Characters of the output of an interrupted call that are kept: half each of its beginning and its end."""

INTERRUPTED = "The call was interrupted before it was done. What it has done so far is done."
NOT_STARTED = "The call did not run: the turn was interrupted before it began."
LOST = "The daemon stopped while the call ran. It is not known how far it came. It was not repeated."
FAULT = "The tool has failed because of a fault in it. The daemon's log has the details."


def failed(call: ToolCall, why: str, outcome: ToolOutcome = "failed") -> ToolResult:
    """Return the result of a call that failed for this reason."""
    return ToolResult(call.tool_call_id, call.tool_name, why, True, outcome)


def denied(call: ToolCall, why: str) -> ToolResult:
    """Return the result of a call that the policy or a person did not allow."""
    return failed(call, why, "denied")


def refused(call: ToolCall, request: ActionRequest, answer: Answer) -> ToolResult:
    """Return the result of a call whose request was not answered by "allow"."""
    if answer.outcome == "expired":
        why = read_reason(answer)
        if why is not None:
            return failed(call, why, "timed_out")
        limit = "" if request.expires_at is None else f" (until {request.expires_at})"
        return failed(call, f"Nobody answered in time{limit}.", "timed_out")
    reason = read_reason(answer)
    said = "" if reason is None else f" They say: {reason}"
    match request.kind:
        case "question":
            return denied(call, f"The person does not want to answer.{said}")
        case "plan":
            return denied(call, f"The person does not approve the plan.{said}")
        case "loop":
            return denied(
                call, f"You made this call several times with the same result. It was not repeated.{said}"
            )
        case "tool":
            return failed(call, f"The client did not run the tool.{said}")  # the call had started
        case _:
            return denied(call, f"The person did not allow this call.{said}")


def cut_short(call: ToolCall, why: str, outcome: ToolOutcome, output: str) -> ToolResult:
    """Return the result of a call that was ended, with what it had said so far."""
    if not output:
        return failed(call, why, outcome)
    if len(output) > OUTPUT_KEPT:
        half = OUTPUT_KEPT // 2
        left_out = len(output) - 2 * half
        output = f"{output[:half]}\n[… {left_out:,} characters left out …]\n{output[-half:]}"
    return failed(call, f"{why}\nIts output so far:\n{output}", outcome)


def wrong_arguments(call: ToolCall, problem: str) -> ToolResult:
    """Return the result of a call with invalid arguments."""
    return failed(call, describe_wrong_arguments(call.tool_name, problem))


def describe_wrong_arguments(tool_name: str, problem: str) -> str:
    """Return the sentence that says why a tool does not take arguments."""
    return f"The arguments of {tool_name} are invalid: {problem}"


def no_object(args: object) -> str:
    """Return what is wrong with arguments that are no object."""
    if isinstance(args, str):
        return "they are not valid JSON, or nested too deep. Send one JSON object."
    return f"they are {type(args).__name__}, not a JSON object."
