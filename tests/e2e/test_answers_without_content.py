"""Answers with nothing to show, from the provider to the exit code of `parley ask`."""

import anyio
import anyio.to_thread

from tests.support.processes.daemon import running_daemon
from tests.support.processes.parley_command import run_parley
from tests.support.providers.script import Script, done, event, finish, reasoning, text, tool
from tests.support.providers.server import fake_provider

EMPTY = (finish(), done())
ANSWERS: dict[str, tuple[list[Script], int, str, str]] = {
    "nothing, twice": ([EMPTY, EMPTY], 1, "", "returned nothing"),
    "nothing at first": ([EMPTY, (text("Yes."), finish(), done())], 0, "Yes.", ""),
    "only reasoning": ([(reasoning("hm"), finish(), done())], 1, "", "only its reasoning"),
    "a limit before any text": ([(finish("length"), done())], 1, "", "token limit"),
    "a limit in the text": ([(text("Ye"), finish("length"), done())], 0, "Ye", "token limit"),
    "a filter": ([(finish("content_filter"), done())], 1, "", "filter"),
    "a tool call": ([(tool(0, "a", "f", "{}"), finish("tool_calls"), done())], 1, "", "tools"),
    "an error in the stream": (
        [(text("Half"), event({"error": {"message": "No such voice.", "code": 400}}))],
        1,
        "Half",
        "No such voice.",
    ),
}


async def test_a_script_can_tell_that_there_is_no_answer() -> None:
    async with fake_provider(*[script for scripts, *_ in ANSWERS.values() for script in scripts]) as provider:
        config = f"""
            default_model = "fake:any"
            titles.enabled = false
            retries.first_ms = 0
            [providers.fake]
            type = "openai-compat"
            base_url = "{provider.base_url}"
        """
        async with running_daemon(config=config) as daemon:
            for name, (scripts, code, said, told) in ANSWERS.items():
                before = len(provider.requests)
                with anyio.fail_after(60):
                    result = await anyio.to_thread.run_sync(run_parley, daemon.env, "ask", "Hi")
                assert (result.returncode, result.stdout.strip()) == (code, said), name
                assert told in result.stderr, name
                assert bool(result.stderr) == bool(told), name
                assert len(provider.requests) - before == len(scripts), name
