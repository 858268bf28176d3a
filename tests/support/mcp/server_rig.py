"""MCP servers over a scripted connector and a store in memory: the fixture of the engine's tests of them."""

from collections.abc import Sequence
from pathlib import Path

from parley_daemon.adapters.memory.state import MemoryState
from parley_daemon.adapters.memory.store import MemoryStore
from parley_daemon.adapters.os.clock import SystemClock
from parley_daemon.adapters.os.project_files import read_below
from parley_daemon.adapters.secrets.key_store import MemoryKeyStore
from parley_daemon.core.agents.mcp import McpDefinition
from parley_daemon.core.records import AgentSettings, Chat, ModelSettings
from parley_daemon.engine.mcp.authorization import Authorizations
from parley_daemon.engine.mcp.manifests import KeptManifests
from parley_daemon.engine.mcp.projects import ProjectFileReader
from parley_daemon.engine.mcp.run import RunTimes
from parley_daemon.engine.mcp.runs import RunParts
from parley_daemon.engine.mcp.servers import ChatServer, McpServers
from parley_daemon.engine.mcp.stored import StoredServers
from parley_daemon.engine.mcp.targets import McpEnvironment
from parley_daemon.engine.tasks import BackgroundTasks
from parley_daemon.ports.projects import ProjectFile
from parley_daemon.ports.tools import Workspace
from tests.support.mcp.scripted import ScriptedConnector

ME = "local"
ENVIRONMENT = McpEnvironment(
    base={"PATH": "/bin", "HOME": "/home/me"},
    daemon={"PATH": "/bin", "HOME": "/home/me", "ANTHROPIC_API_KEY": "sk-daemon", "GIVEN": "given"},
    allowed=frozenset(["GIVEN"]),
    home="/home/me",
)


class Files:
    """The files of projects, without the second for which the real ones are remembered."""

    async def read(self, folder: str, name: str) -> ProjectFile | None:
        return read_below(folder, name)

    async def find_folder(self, path: str) -> str | None:
        return path


class Rig:
    """Servers over a store that may outlive them."""

    def __init__(
        self,
        tasks: BackgroundTasks,
        configured: Sequence[McpDefinition] = (),
        state: MemoryState | None = None,
        keys: MemoryKeyStore | None = None,
        times: RunTimes | None = None,
        authorizations: Authorizations | None = None,
    ) -> None:
        self.state = state or MemoryState()
        self.keys = keys or MemoryKeyStore()
        self.connector = ScriptedConnector()
        self.trusted: set[tuple[str, str]] = set()
        self.store = MemoryStore(self.state)
        self.opened = 0
        clock = SystemClock()
        self.stored = StoredServers(self.store, self._open, self.keys, clock)
        parts = RunParts(
            connector=self.connector,
            stored=self.stored,
            trust=self,
            environment=ENVIRONMENT,
            clock=clock,
            start=tasks.start,
            times=times or RunTimes(),
            authorizations=authorizations,
        )
        manifests = KeptManifests(self.store, self._open, clock)
        self.servers = McpServers(parts, ProjectFileReader(Files(), self), manifests, configured)

    async def _open(self) -> None:
        self.opened += 1

    async def is_trusted(self, owner: str, root: str, hash: str) -> bool:
        return bool(hash) and (root, hash) in self.trusted

    async def in_chat(self, *roots: Path, id: str = "c1", agent: AgentSettings | None = None):
        chat = Chat(id, ME, "t", "t", settings=ModelSettings(agent=agent or AgentSettings(mode="ask")))
        return await self.servers.for_chat(chat, Workspace(tuple(map(str, roots))))

    async def one(self, *roots: Path) -> ChatServer:
        (server,) = await self.in_chat(*roots)
        return server
