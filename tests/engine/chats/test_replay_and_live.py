"""However replay, live events, duplicates and merged pieces interleave, each client shows the same text."""

from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from parley_daemon.server.wire import records
from parley_protocol.fold import ChatView
from tests.support.engine import strategies
from tests.support.engine.records import as_wire_values
from tests.support.engine.rig import running
from tests.support.engine.scripted_model import ScriptedCall
from tests.support.engine.subscriber import Client
from tests.support.examples import examples

CLIENTS = 3


OF_A_CLIENT = ["attach", "resume", "leave", "squeeze", "let go", "read", "read twice"]
ACTIONS = st.one_of(
    st.tuples(st.just("say"), st.lists(strategies.pieces, min_size=1, max_size=4)),
    st.tuples(st.just("say"), st.lists(strategies.texts, min_size=1, max_size=4)),
    st.tuples(st.sampled_from(OF_A_CLIENT), st.integers(0, CLIENTS - 1)),
    st.tuples(st.sampled_from(["finish", "fail", "interrupt"]), st.none()),
)


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(ACTIONS, max_size=30))
async def test_every_client_shows_the_same_text(script: list[tuple[str, Any]]) -> None:
    with anyio.fail_after(30):
        async with running() as rig:
            chat_id = await rig.chat()
            clients: list[Client] = [Client(rig, chat_id) for _ in range(CLIENTS)]
            await clients[0].attach(resume=False)
            heard = await rig.listen(chat_id)
            ended = 0
            call: ScriptedCall | None = None
            for action, value in script:
                match action:
                    case "say":
                        if call is None:
                            await rig.send(chat_id)
                            call = await rig.model.asked()
                        await call.say(*value)
                    case "finish" | "fail" | "interrupt":
                        if call is None:
                            continue
                        if action == "finish":
                            await call.finish()
                        elif action == "fail":
                            call.fail()
                        else:
                            await rig.interrupt(chat_id)
                        ended, call = ended + 1, None
                        await heard.ended(ended)
                    case _:
                        await clients[int(value)].act(action)
            snapshot = await rig.snapshot(chat_id)
            shown = ChatView(as_wire_values(records.snapshot(snapshot)), snapshot.seq)
            for client in clients:
                client.squeeze(False)
                client.read()
                await client.attach(resume=True)
                client.read(twice=True)
                assert client.view is not None
                assert client.view.messages == shown.messages
                assert client.view.preview == shown.preview
                assert (client.view.seq, client.view.status) == (shown.seq, shown.status)
