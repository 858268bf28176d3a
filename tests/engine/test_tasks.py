"""Tasks in the background: they end with their block, whatever is started meanwhile."""

import anyio

from parley_daemon.engine.tasks import BackgroundTasks


async def test_work_that_is_started_while_the_tasks_end_does_not_hold_up_the_end() -> None:
    tasks, may_end, has_ended = BackgroundTasks(), anyio.Event(), anyio.Event()
    late: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await may_end.wait()
            has_ended.set()

    async def start_more() -> None:
        await anyio.wait_all_tasks_blocked()
        may_end.set()
        await has_ended.wait()
        tasks.start(work_late)

    async def work_late() -> None:
        late.append("started")

    async with anyio.create_task_group() as others:
        async with tasks.running():
            tasks.start(work)
            await anyio.wait_all_tasks_blocked()
            others.start_soon(start_more)
        await has_ended.wait()
    assert late == []
