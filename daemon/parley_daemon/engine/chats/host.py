"""What a chat needs of the engine: the shared services, and the engine itself as a small protocol."""

from dataclasses import dataclass
from typing import Protocol

import anyio

from parley_daemon.engine.agents.budgets import Budgets
from parley_daemon.engine.agents.client_tools import ClientTools
from parley_daemon.engine.agents.mcp.offer import McpOffers
from parley_daemon.engine.agents.policy.instructions import Instructions
from parley_daemon.engine.agents.policy.permissions import Permissions
from parley_daemon.engine.agents.services import Lineage
from parley_daemon.engine.chats.feed.snapshot import Change, ChatView
from parley_daemon.engine.context.retrieval import Retrieval
from parley_daemon.engine.turns.host import TurnResult
from parley_daemon.engine.turns.retry import Retries
from parley_daemon.engine.turns.run import TurnRun
from parley_daemon.engine.turns.summarize import SummaryPolicy
from parley_daemon.ports.catalogue import Catalogue
from parley_daemon.ports.checkpoints import Checkpoints
from parley_daemon.ports.clock import Clock
from parley_daemon.ports.models import AnswerLimits
from parley_daemon.ports.schemas import Schemas
from parley_daemon.ports.store import Store
from parley_daemon.ports.tools import Toolbox


class ChatHost(Protocol):
    """The engine that a chat belongs to."""

    @property
    def is_stopping(self) -> bool:
        """Whether the daemon stops: no new turn may begin."""
        ...

    async def load_configuration(self, *references: str | None) -> None:
        """Return once the configured providers and models are known to the catalogue.

        If one of the references to models has no provider, the providers' lists are fetched, too, which is
        waited for a moment (see `Providers.refresh_models`).

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        ...

    def start_turn(self, run: TurnRun) -> None:
        """Run a turn in a task of the engine."""
        ...

    def warm_model(self, reference: str | None) -> None:
        """Load in the background what the first call of this model needs."""
        ...

    def chat_changed(self, view: ChatView, change: Change) -> None:
        """Notify the watchers of the chat's owner."""
        ...

    def stop_children(self, chat_id: str) -> None:
        """Interrupt the turns of a chat's children that do not work in the background."""
        ...

    def files_changed(self, chat_id: str) -> None:
        """Tools have changed files in the folders of a chat."""
        ...

    def turn_ended(self, view: ChatView, result: TurnResult, *, wants_title: bool) -> None:
        """A turn of the chat has ended and its result is committed.

        `wants_title`: the chat has its first answer and only an automatic title.
        """
        ...


@dataclass(slots=True)
class ChatServices:
    """What all chats of an engine share.

    `summary_policy` and `answer_limits` are replaced when the configuration changes. `summary_slots` limits
    how many titles and summaries are requested at the same time.
    """

    store: Store
    catalogue: Catalogue
    clock: Clock
    schemas: Schemas
    toolbox: Toolbox
    client_tools: ClientTools
    checkpoints: Checkpoints
    turn_slots: anyio.CapacityLimiter
    summary_slots: anyio.Semaphore
    retries: Retries
    summary_policy: SummaryPolicy
    answer_limits: AnswerLimits
    permissions: Permissions
    instructions: Instructions
    lineage: Lineage
    budgets: Budgets
    mcp: McpOffers
    retrieval: Retrieval
    host: ChatHost
