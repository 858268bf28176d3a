"""Three chats at once in one daemon, and an answer that moves to another client in the middle."""

import anyio

from parley_clients import Chat, Client, connect
from parley_clients.demo.screen import Screen
from parley_protocol.fold import ChatView, plain_text

QUESTIONS = {
    "Emacs": "What happens to this answer when I close Emacs?",
    "script": "/tokens 25",
    "notes": "Why do chats belong to a daemon?",
}
MOVING_CLIENT = "Emacs"
PIECES_BEFORE_MOVE = 60


async def stream_answer(screen: Screen, speaker: str, chat: Chat, question: str) -> None:
    """Ask a question and print the answer while it is streamed."""
    screen.print_text(speaker, f"? {question}\n")
    part = 0
    async for event in chat.stream(question):
        if event.type == "message_part" and event.raw["index"] != part:
            part = event.raw["index"]
            screen.end_line(speaker)
        screen.print_text(speaker, event.reasoning or event.text)
    screen.end_line(speaker)


async def watch_beginning(screen: Screen, chat: Chat, question: str) -> ChatView:
    """Ask a question, detach during the answer, and return the state of the chat at that moment."""
    screen.print_text(MOVING_CLIENT, f"? {question}\n")
    async with chat.attach() as live:
        await chat.send(question)
        pieces = 0
        async for event in live:
            screen.print_text(MOVING_CLIENT, event.text)
            pieces += event.type == "message_part"
            if pieces == PIECES_BEFORE_MOVE:
                break
        screen.end_line(MOVING_CLIENT)
        return live.state


async def watch_rest(screen: Screen, client: Client, view: ChatView) -> str:
    """Continue in another client after the last event; return the text that both have seen."""
    async with client.chat(view.chat["id"]).attach(state=view) as live:
        how = "resumed by sequence number" if live.resumed else "from a snapshot"
        screen.title(f"Emacs is closed. Neovim attaches to the same answer ({how}):")
        async for event in live:
            screen.print_text("Neovim", event.text)
            if event.type == "turn_ended":
                break
        screen.end_line("Neovim")
        return plain_text(live.state.messages[-1]["content"])


async def show_chats(screen: Screen) -> bool:
    """Show it; return whether the text that was seen is the stored answer."""
    seen, stored = "", ""
    view: ChatView | None = None
    screen.title("Three chats at once in one daemon, from two clients:")
    async with connect(client_name="nvim", start=False) as second, anyio.create_task_group() as tasks:
        tasks.start_soon(stream_answer, screen, "notes", await second.create_chat(), QUESTIONS["notes"])
        async with connect(client_name="emacs", start=False) as first, anyio.create_task_group() as firsts:
            firsts.start_soon(stream_answer, screen, "script", await first.create_chat(), QUESTIONS["script"])
            view = await watch_beginning(screen, await first.create_chat(), QUESTIONS[MOVING_CLIENT])
        assert view is not None
        seen = await watch_rest(screen, second, view)
        stored = plain_text((await second.chat(view.chat["id"]).get()).messages[-1]["content"])
    same = seen == stored != ""
    verdict = "exactly the stored answer" if same else "NOT the stored answer"
    screen.title(f"The text that Emacs and Neovim have seen together ({len(seen)} characters) is {verdict}.")
    return same
