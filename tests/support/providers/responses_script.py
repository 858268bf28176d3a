"""What the fake model server can say in the responses dialect: events as its API documents them, and actions.

An `Answer` numbers items and events as it goes; `events` is the stream, `document` the same in one piece.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.providers.script import Action, Reply

Json = dict[str, Any]


def named(*events: Mapping[str, Any]) -> bytes:
    """Return events as the API frames them."""
    return b"".join(
        [
            f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
            for event in events
        ]
    )


def said(*events: Mapping[str, Any]) -> Action:
    """Send events, one write each."""

    async def act(reply: Reply) -> None:
        for event in events:
            await reply.body(named(event))

    return act


class Answer:
    """A response in the making; each method adds an item or what belongs to the last one."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.output: list[Json] = []
        self._say("response.created", response=self._response("in_progress"))
        self._say("response.in_progress", response=self._response("in_progress"))

    def message(
        self, *texts: str | Sequence[str], refusal: str = "", citations: Sequence[Json] = ()
    ) -> "Answer":
        """Add a message: a string is a text in one delta, a sequence a text in several."""
        with_parts: list[Json] = []
        item: Json = {"id": f"msg_{len(self.output)}", "type": "message", "role": "assistant"}
        place = self._begin({**item, "status": "in_progress", "content": []})
        for at, text in enumerate(texts):
            deltas = [text] if isinstance(text, str) else text
            part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            where = {**place, "content_index": at}
            self._say("response.content_part.added", **where, part=part)
            for delta in deltas:
                self._say("response.output_text.delta", **where, delta=delta, logprobs=[], obfuscation="x")
            for number, citation in enumerate(citations):
                named = {"annotation": citation, "annotation_index": number}
                self._say("response.output_text.annotation.added", **where, **named)
            whole = {**part, "text": "".join(deltas), "annotations": list(citations)}
            self._say("response.output_text.done", **where, text=whole["text"], logprobs=[])
            self._say("response.content_part.done", **where, part=whole)
            with_parts.append(whole)
        if refusal:
            where = {**place, "content_index": len(texts)}
            self._say("response.content_part.added", **where, part={"type": "refusal", "refusal": ""})
            for letter in refusal:
                self._say("response.refusal.delta", **where, delta=letter)
            self._say("response.refusal.done", **where, refusal=refusal)
            with_parts.append({"type": "refusal", "refusal": refusal})
        return self._end({**item, "status": "completed", "content": with_parts})

    def reasoning(
        self, *summary: str, thoughts: Sequence[str] = (), encrypted: str | None = None
    ) -> "Answer":
        """Add reasoning: summaries and plain thoughts letter by letter."""
        item: Json = {"id": f"rs_{len(self.output)}", "type": "reasoning", "summary": []}
        place = self._begin({**item, "encrypted_content": encrypted and encrypted[:2]})
        for at, text in enumerate(summary):
            where = {**place, "summary_index": at}
            part = {"type": "summary_text", "text": ""}
            self._say("response.reasoning_summary_part.added", **where, part=part)
            for letter in text:
                self._say("response.reasoning_summary_text.delta", **where, delta=letter, obfuscation="x")
            self._say("response.reasoning_summary_text.done", **where, text=text)
            self._say("response.reasoning_summary_part.done", **where, part={**part, "text": text})
        for at, text in enumerate(thoughts):
            where = {**place, "content_index": at}
            for letter in text:
                self._say("response.reasoning_text.delta", **where, delta=letter)
            self._say("response.reasoning_text.done", **where, text=text)
        whole = {**item, "summary": [{"type": "summary_text", "text": text} for text in summary]}
        if thoughts:
            whole["content"] = [{"type": "reasoning_text", "text": text} for text in thoughts]
        return self._end({**whole, "encrypted_content": encrypted})

    def calls(self, *calls: tuple[str, str, Sequence[str]]) -> "Answer":
        """Add calls (id, name, arguments in pieces) that stream at the same time."""
        first = len(self.output)
        items: list[Json] = [
            {"id": f"fc_{first + at}", "type": "function_call", "call_id": id, "name": name}
            for at, (id, name, _) in enumerate(calls)
        ]
        places = [self._begin({**item, "status": "in_progress", "arguments": ""}) for item in items]
        pieces = [
            (at, where, piece)
            for where, (_, _, arguments) in enumerate(calls)
            for at, piece in enumerate(arguments)
        ]
        for _, where, piece in sorted(pieces, key=lambda each: each[0]):
            self._say("response.function_call_arguments.delta", **places[where], delta=piece)
        for item, place, (_, _, arguments) in zip(items, places, calls, strict=True):
            whole = "".join(arguments)
            self._say("response.function_call_arguments.done", **place, arguments=whole)
            done = {**item, "status": "completed", "arguments": whole}
            self._say("response.output_item.done", output_index=place["output_index"], item=done)
            self.output[place["output_index"]] = done
        return self

    def image(self, data: str, output_format: str = "png") -> "Answer":
        """Add an image that the model made, with a preview before it."""
        item: Json = {"id": f"ig_{len(self.output)}", "type": "image_generation_call"}
        place = self._begin({**item, "status": "in_progress", "result": None})
        partial = {"partial_image_b64": "cGFydA==", "partial_image_index": 0}
        self._say("response.image_generation_call.partial_image", **place, **partial)
        self._say("response.image_generation_call.completed", **place)
        return self._end({**item, "status": "completed", "result": data, "output_format": output_format})

    def ended(self, status: str = "completed", **fields: Any) -> "Answer":
        """End the response."""
        self.response = self._response(status, output=self.output, usage=usage(), **fields)
        self._say(f"response.{status}", response=self.response)
        return self

    @property
    def stream(self) -> bytes:
        """The whole stream."""
        return named(*self.events)

    @property
    def document(self) -> bytes:
        """The batch form of the same answer."""
        return json.dumps(self.response).encode()

    @property
    def script(self) -> tuple[Action, ...]:
        """The answer as a script of the fake server."""
        return (said(*self.events),)

    def _begin(self, item: Json) -> Json:
        index = len(self.output)
        self.output.append(item)
        self._say("response.output_item.added", output_index=index, item=item)
        return {"item_id": item["id"], "output_index": index}

    def _end(self, item: Json) -> "Answer":
        self.output[-1] = item
        self._say("response.output_item.done", output_index=len(self.output) - 1, item=item)
        return self

    def _response(self, status: str, **fields: Any) -> Json:
        return {
            "id": "resp_fake",
            "object": "response",
            "created_at": 1700000000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": "fake",
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
            **fields,
        }

    def _say(self, type: str, **fields: Any) -> None:
        self.events.append({"type": type, "sequence_number": len(self.events), **fields})


def usage(input: int = 3, output: int = 5, cached: int = 1, reasoning: int = 2) -> Json:
    """Return what a response says that it used."""
    return {
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": input + output,
    }


GREETING = Answer().message(["Hello ", "from ", "the ", "fake ", "provider."]).ended().script
