"""The Model of `demo:demo`: streams an answer of `answers` piece by piece, at a pace at which people read."""

import re
from collections.abc import AsyncGenerator

import anyio

from parley_daemon.adapters.providers.demo.answers import Prompt, choose_answer, count_tokens
from parley_daemon.adapters.providers.demo.script import ToolTurn, is_of_a_person
from parley_daemon.core.parts import Reasoning, Text, ToolCall, plain_text
from parley_daemon.core.records import Usage
from parley_daemon.ports.models import Batch, Finish, ModelRequest, UsageReport

_BACKGROUND_USAGE = Usage(input_tokens=1, output_tokens=1, total_tokens=2)


class DemoModel:
    """The demo model. `pace` scales every pause: 0.1 is ten times as fast, 0 does not pause."""

    def __init__(self, pace: float = 1.0) -> None:
        self._pace = pace

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Batch, None]:
        """Call the model; see the port. Yields one piece per batch, then usage and Finish.

        Raises:
            ModelError: the prompt is the command `/error`.
        """
        if request.purpose != "answer":
            yield [Text(_background_answer(request)), UsageReport(_BACKGROUND_USAGE), Finish("stop")]
            return
        user_texts = [
            plain_text(message.parts).strip() for message in request.messages if is_of_a_person(message)
        ]
        prompt = Prompt.parse(user_texts[-1] if user_texts else "", len(user_texts))
        pace = 0.0 if prompt.is_fast else self._pace
        has_calls = False
        output_tokens = 0
        reasoning_tokens = 0
        for step in choose_answer(prompt, request.settings.output_schema, ToolTurn.read(request)):
            if step.piece is None:
                await anyio.sleep_forever()
                return
            await anyio.sleep(step.pause * pace)
            output_tokens += 1
            reasoning_tokens += isinstance(step.piece, Reasoning)
            has_calls = has_calls or isinstance(step.piece, ToolCall)
            yield (step.piece,)
        input_tokens = sum(count_tokens(plain_text(message.parts)) for message in request.messages)
        usage = Usage(
            input_tokens, output_tokens, input_tokens + output_tokens, reasoning_tokens=reasoning_tokens
        )
        yield (UsageReport(usage), Finish("tool_calls" if has_calls else "stop"))

    async def warm(self) -> None:
        """Do nothing: there is nothing to load."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""


def _background_answer(request: ModelRequest) -> str:
    """Return the answer to a request of the daemon itself.

    A request for a title gets "", so the title is made of the first words of the chat. A request for a
    summary gets the number of messages.
    """
    if request.purpose == "title":
        return ""
    text = plain_text(request.messages[-1].parts)
    count = len(re.findall(r"^(?:USER|ASSISTANT|TOOL|SYSTEM):$", text, re.MULTILINE))
    return f"The demo read {count} messages here. A real model would have written a summary of them."
