"""Where a turn stands while its tools run, as it is stored.

Theory of operation. When a model's answer calls tools, the answer is stored, then the calls run, then one
message with all results is stored. In between, this record says what a crash must not forget: which calls
have started, which must therefore never start again, and which questions are open. It is part of the turn's
record, so that a question, the status that follows from it, and the mark of a call are in one commit.

A turn that is lost without an open question ends, as one that is lost in a model call does. With an open
question it goes on when that is answered: calls that had started and have no result are interrupted, the
others run. What a call asked that was under way itself (an elicitation) ends with that call.
"""

import msgspec

from parley_daemon.core.agents.actions import ActionRequest


class ToolStep(msgspec.Struct, frozen=True, gc=False):
    """The calls of one message.

    Attributes:
        message_id: the message that has the calls.
        results_id: the id that the message with the results gets.
        started: the positions of the calls that have started, from 0, in the order of the calls.
        requests: the open questions, oldest first.
        used_ms: milliseconds of the turn so far, without those in which it waited for answers.
        is_plan_approved: whether a person has approved a plan in this turn. Its own mode counts no more.
    """

    message_id: int
    results_id: int
    started: tuple[int, ...] = ()
    requests: tuple[ActionRequest, ...] = ()
    used_ms: int = 0
    is_plan_approved: bool = False
