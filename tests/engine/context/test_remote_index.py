"""The example of an index that lies elsewhere, as the page has it, works with the engine."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from parley_daemon.core.agents.globs import uri_of_path
from parley_daemon.core.parts import Source
from parley_daemon.core.records import Context
from parley_daemon.ports.context import hash_text
from tests.support.engine.rig import running
from tests.support.engine.toolbox import GivenToolbox

PAGE = (Path(__file__).parents[3] / "docs" / "context.md").read_text("utf-8")
TEXT = "one\ntwo\nthree\n"


def example() -> str:
    return next(one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "RemoteIndex" in one)


class CodeSearch:
    """The server: it has one file, and passages of it and of a file elsewhere."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.is_down = False

    async def read(self, request: web.Request) -> web.Response:
        return web.json_response({"text": TEXT})

    async def search(self, request: web.Request) -> web.Response:
        if self.is_down:
            raise web.HTTPServiceUnavailable
        passages = [self._passage(f"{self.folder}/a.txt"), self._passage("/elsewhere/a.txt")]
        return web.json_response({"passages": passages, "tookMs": 1.0})

    def _passage(self, path: str) -> dict[str, Any]:
        place = {"path": path, "root": self.folder, "start_line": 2, "end_line": 3}
        return {**place, "text": "two\nthree", "content_hash": hash_text(TEXT), "score": 1.0}


@asynccontextmanager
async def serving(search: CodeSearch) -> AsyncGenerator[str]:
    app = web.Application()
    app.add_routes([web.post("/read", search.read), web.post("/search", search.search)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_the_example_of_the_page_is_an_index(tmp_path: Path) -> None:
    assert len(example().splitlines()) <= 45
    names: dict[str, Any] = {}
    exec(compile(example(), "docs/context.md", "exec"), names)
    server, toolbox = CodeSearch(str(tmp_path)), GivenToolbox(roots=[str(tmp_path)])
    async with (
        serving(server) as url,
        running(toolbox=toolbox, context_index=names["RemoteIndex"](url)) as rig,
    ):
        chat = await rig.chat(context=Context(repositories=(uri_of_path(str(tmp_path)),), chosen=True))
        await rig.ask_quickly(chat, "What is two?")
        question = (await rig.snapshot(chat)).messages[0]
        sources = [part for part in question.content if isinstance(part, Source)]
        assert [(one.title, one.start_line, one.end_line) for one in sources] == [("a.txt", 2, 3)]
        server.is_down = True
        done = await rig.ask_quickly(chat, "And three?")
        assert done.ended.outcome == "completed"
        note = [one for one in (await rig.snapshot(chat)).messages if one.role == "user"][-1].retrieval
        assert note is not None
        assert note.problem is not None
        assert note.problem.startswith("The code search does not answer")
