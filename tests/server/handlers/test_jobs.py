"""job/list and job/stop over the wire of a real daemon, with real processes."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from anyio import to_thread

from parley_protocol.models.agents.jobs import Job, JobListResult
from tests.support.processes.daemon import DaemonProcess
from tests.support.processes.raw_client import Peer, unix_peer
from tests.support.sandbox.marked import wait_for_processes


async def new_chat(peer: Peer, folder: Path) -> str:
    settings = {"agent": {"mode": "ask"}}
    context = {"repositories": [folder.as_uri()]}
    return (await peer.result("chat/create", {"settings": settings, "context": context}))["id"]


async def jobs_of(peer: Peer, chat_id: str) -> list[dict[str, Any]]:
    result = await peer.result("job/list", {"chatId": chat_id})
    assert JobListResult.model_validate(result).to_wire() == result
    return result["jobs"]


async def begin_job(peer: Peer, chat_id: str, command: str) -> None:
    text = "/tool run " + json.dumps({"command": command, "background": True})
    await peer.subscribe(chat_id)
    await peer.result("chat/send", {"chatId": chat_id, "content": text})
    request = (await peer.event("s", "action_required"))["request"]
    await peer.result("chat/respond", {"chatId": chat_id, "requestId": request["id"], "decision": "allow"})
    await peer.event("s", "turn_ended")


@pytest.mark.slow
async def test_a_person_sees_and_stops_what_a_model_has_started(
    shared_daemon: DaemonProcess, tmp_path: Path
) -> None:
    mark = f"mark-{uuid4()}"
    idle = f"python3 -c 'import time; time.sleep(600)' {mark}"
    async with unix_peer(shared_daemon.socket) as peer:
        await peer.initialize()
        chat_id = await new_chat(peer, tmp_path)
        assert await jobs_of(peer, chat_id) == []
        await begin_job(peer, chat_id, f"echo up; setsid {idle} & trap '' TERM; {idle}")
        await to_thread.run_sync(wait_for_processes, mark, 2)
        while not (job := (await jobs_of(peer, chat_id))[0])["tail"]:
            pass
        assert (job["state"], job["exitStatus"], job["tail"]) == ("running", None, "up\n")
        assert job["command"].startswith("echo up; ")
        assert job["outputBytes"] == 3
        stopped = await peer.result("job/stop", {"chatId": chat_id, "id": job["id"]})
        assert Job.model_validate(stopped).to_wire() == stopped
        assert (stopped["state"], stopped["exitStatus"] is None) == ("stopped", False)
        await to_thread.run_sync(wait_for_processes, mark, 0)
        assert await jobs_of(peer, chat_id) == [stopped]
        assert await peer.result("job/stop", {"chatId": chat_id, "id": job["id"]}) == stopped
        other = await new_chat(peer, tmp_path)
        error = await peer.error("job/stop", {"chatId": other, "id": job["id"]})
        assert error["code"] == 1014
        assert (await peer.error("job/list", {"chatId": "none"}))["code"] == 1001
