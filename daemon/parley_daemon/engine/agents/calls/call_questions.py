"""Questions that a running call asks, such as what an MCP server wants to know (elicitation).

Theory of operation. The question is stored and shown as every other, and the turn waits for the answer
without a slot. But the call under way is not stored: if it ends before the answer, because it was cancelled
or its server has ended, the question ends, too. So it does after a stop of the daemon (see `steps`).
"""

import anyio

from parley_daemon.core.agents.actions import ActionRequest, Answer
from parley_daemon.engine.agents.calls.activity import Activity
from parley_daemon.engine.agents.host import StepHost

_EXPIRY_SECONDS = 2.0
"""How long it may take to close a question that nobody waits for any more."""


async def ask_during_call(request: ActionRequest, host: StepHost, activity: Activity) -> Answer:
    """Ask, and wait for the answer.

    Raises:
        StoreUnavailableError: the question could not be stored.
    """
    questions = activity.questions
    questions.add(request.id)
    is_answered = False
    try:
        with activity.wait(request.id):
            if not await host.open_request(request):
                return Answer("interrupted")
            answer = await questions.answer(request.id)
        is_answered = True
    finally:
        if not is_answered:
            questions.forget(request.id)
            with anyio.move_on_after(_EXPIRY_SECONDS, shield=True):
                await host.expire_request(request.id)
    await activity.resume()
    return answer
