"""A script of a user. It is type-checked against an installed wheel, not run."""

import anyio

from parley_clients import (
    Answer,
    BranchPoint,
    ChatBusyError,
    ChatChange,
    ConnectionLostError,
    Event,
    Reconnect,
    Result,
    TurnFailedError,
    connect,
    sync,
)
from parley_protocol.fold import ChatView, plain_text
from parley_protocol.methods import METHODS
from parley_protocol.models.events import KnownEvent, UnknownEvent, parse_event
from parley_protocol.models.providers import Provider
from parley_protocol.models.turns import ChatAskResult


async def use_asynchronous_client() -> None:
    async with connect(reconnect=Reconnect(max_attempts=3)) as client:
        chat = await client.create_chat(title="Types", settings={"temperature": 0.5})
        answer: Answer = await chat.ask("What is a monad?", when_busy="queue")
        model: ChatAskResult = answer.model
        print(model.turn_id, answer.text, answer.raw["timings"])
        async for event in chat.stream([{"type": "text", "text": "And a functor?"}]):
            known: KnownEvent | UnknownEvent = event.model
            print(known, event.text)
        async for text in chat.stream("Once more").text(cumulative=True):
            print(text.upper())
        async with chat.attach() as live:
            state: ChatView = live.state
            events: list[Event] = await live.batch(timeout=1)
            print(plain_text(state.messages[-1]["content"]), events)
        points: list[BranchPoint] = await chat.branches()
        await chat.update(title=None)
        print([point.siblings for point in points], (await chat.queue.list()).messages)
        provider: Result[Provider] = await client.providers.create("work", "openai-compat", api_key="x")
        await client.model_configs.update("work:llama", context_limit=None)
        print(provider.model.display_name, (await client.models()).model.providers)
        async for change in client.watch():
            changed: ChatChange = change
            print(changed.type)


def use_blocking_client() -> None:
    with sync.connect("stdio", client_name="types") as client:
        chat: sync.Chat = client.create_chat(model="demo:demo")
        try:
            print(chat.ask("What is a monad?", timeout=10).raise_for_outcome().text)
        except TurnFailedError as error:
            print(error.answer.outcome)
        except (ChatBusyError, ConnectionLostError) as error:
            print(error.code, error.message, error.client_message_id)
        for event in chat.stream("And a functor?"):
            print(event.text, end="")
        titles = [record.title for record in client.all_chats(archived=False)]
        print(titles, chat.queue.list().messages, client.providers.list().model.providers)


def use_protocol() -> None:
    event = parse_event({"type": "status", "chatId": "c", "seq": 1, "status": "waiting"})
    print(event.to_wire(), sorted(METHODS))


anyio.run(use_asynchronous_client)
use_blocking_client()
use_protocol()
