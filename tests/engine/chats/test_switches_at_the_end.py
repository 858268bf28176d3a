"""An edit, a retry or a rewind that waits for its turn to end when the daemon stops is refused."""

import anyio
import pytest

from parley_daemon.core.events import TurnEnded
from parley_daemon.engine.errors import ShuttingDownError
from tests.support.engine.rig import Rig


@pytest.mark.parametrize("how", ["edit", "retry", "rewind"])
async def test_a_switch_that_waits_for_its_turn_to_end_is_refused_when_the_daemon_stops(
    rig: Rig, how: str
) -> None:
    refused: list[ShuttingDownError] = []
    with anyio.fail_after(30):
        chat_id = await rig.chat()
        await rig.ask_quickly(chat_id, "1", "A1")
        heard = await rig.listen(chat_id)
        await rig.send(chat_id, "2")
        call = await rig.model.asked()
        await call.say("Half")
        call.hang_in_cleanup()
        await rig.send(chat_id, "3")

        async def switch() -> None:
            try:
                match how:
                    case "edit":
                        await rig.edit(chat_id, 1, "one")
                    case "retry":
                        await rig.retry(chat_id, 1)
                    case _:
                        await rig.rewind(chat_id, 1)
            except ShuttingDownError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(switch)
            await heard.until(lambda: "status interrupting" in heard.outline)
            tasks.start_soon(rig.engine.stop)
            await anyio.wait_all_tasks_blocked()
            call.cleanup.set()
        assert len(refused) == 1
        assert [one.outcome for one in heard.of(TurnEnded)] == ["interrupted"]
        assert rig.engine.running_turns == 0
        async with rig.restarted() as again:
            assert [text for _, text in await again.history(chat_id)] == ["1", "A1", "2", "Half"]
            assert len((await again.snapshot(chat_id)).queue) == 1
