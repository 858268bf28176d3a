"""The permission rules: which there are, which count for a chat, and changes of them.

Theory of operation. Rules come from three places: stored ones, which people added or answered "always" to,
those of the configuration file, and those of the chat's projects. Whoever can write to a project could write
its rules, so these only ask and deny until the owner has trusted the file with exactly this content. A file
of rules with an error allows nothing: calls are asked about until it is mended, because a rule that is lost
might be one that denies.

The core decides with the rules (`core/agents/permissions`). Nothing here is read from the store or the disk
for each call: the stored rules are kept, and the files of projects are looked at once a second.
"""

from collections import OrderedDict
from collections.abc import Sequence

import anyio
import msgspec
from anyio import to_thread
from msgspec.structs import replace

from parley_daemon.core.agents.globs import path_of_uri, uri_of_path
from parley_daemon.core.agents.rules import UNTRUSTED, Rule, RuleScope
from parley_daemon.core.records import Chat
from parley_daemon.engine.agents.policy.policy_state import PolicyState
from parley_daemon.engine.errors import (
    ConflictError,
    InvalidRuleError,
    NotTrustedError,
    ReadOnlyConfigurationError,
    UnknownRuleError,
)
from parley_daemon.ports.projects import (
    INSTRUCTIONS_FILE,
    MCP_FILE,
    RULES_FILE,
    ParsedRules,
    ParseRules,
    ProjectFile,
    ProjectFiles,
)
from parley_daemon.ports.tools import Workspace

MAX_RULE_BYTES = 16 * 1024
"""How large a rule can be, with its examples."""

_PARSED = 64
"""Files of projects whose parsed rules are remembered."""


_parsers = anyio.CapacityLimiter(1)


class PolicySources(msgspec.Struct, frozen=True, gc=False):
    """Where rules and instructions come from, beside the store.

    `parse` reads the rules of a project's file. `config_folder` has the owner's own AGENTS.md. `home` is what
    `~/` stands for in rules. All paths are absolute.
    """

    files: ProjectFiles
    parse: ParseRules
    config_folder: str
    home: str


class ProjectRules(msgspec.Struct, frozen=True, gc=False):
    """The file of rules of a root. `uri` is the root's, `hash` is "" if the file cannot be used."""

    uri: str
    path: str
    hash: str
    trusted: bool
    rules: tuple[Rule, ...]
    complaint: str | None = None


class ListedRules(msgspec.Struct, frozen=True, gc=False):
    """Rules, and the files of projects with rules. `complaint`: what is wrong with the configured ones."""

    rules: tuple[Rule, ...]
    projects: tuple[ProjectRules, ...] = ()
    complaint: str | None = None


class Permissions:
    """The permission rules of all owners."""

    def __init__(self, state: PolicyState, sources: PolicySources, configured: ParsedRules) -> None:
        self._state = state
        self._sources = sources
        self._configured = configured
        self._version = 0
        self._kept: dict[str, tuple[tuple[int, int], tuple[Rule, ...]]] = {}
        self._parsed: OrderedDict[tuple[str, str], ParsedRules] = OrderedDict()

    def configure(self, configured: ParsedRules) -> None:
        """Replace the rules of the configuration file. Of one that is broken, the rules that allow go."""
        if configured.complaint is not None and self._configured.rules:
            former = [one for one in self._configured.rules if one.effect != "allow"]
            ids = {one.id for one in configured.rules}
            former = [one for one in former if one.id not in ids]
            configured = ParsedRules((*configured.rules, *former), configured.complaint)
        self._configured = configured
        self._version += 1

    async def rules(self, chat: Chat, workspace: Workspace, above: Sequence[Chat] = ()) -> tuple[Rule, ...]:
        """Return the rules to decide with on the calls of a chat, in any order. Cheap enough for each call.

        `above` are the chats that it works for, `workspace` the folders of all of them.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        kept = await self._own_rules(chat.owner)
        projects = await self._projects(chat.owner, workspace)
        chats = {None, chat.id, *[one.id for one in above]}
        counting = [one for one in kept if one.scope.chat_id in chats]
        return (*counting, *[rule for one in projects for rule in one.rules])

    async def _own_rules(self, owner: str) -> tuple[Rule, ...]:
        owned = await self._state.of(owner)
        version = owned.version, self._version
        kept = self._kept.get(owner)
        if kept is None or kept[0] != version:
            rules = (*owned.rules.values(), *self._configured.rules)
            kept = version, tuple([_expand(one, self._sources.home) for one in rules])
            self._kept[owner] = kept
        return kept[1]

    async def remember(self, chat: Chat, offered: Rule, request_id: str) -> Rule:
        """Store a rule that an answer has chosen of those that the request offered; return it with its id.

        Raises:
            StoreUnavailableError: it could not be committed; nothing has changed.
            LimitReachedError: there are too many rules.
        """
        return await self._state.add(chat.owner, replace(offered, source=f"request:{request_id}"))

    async def add(self, owner: str, rule: Rule) -> Rule:
        """Check a rule that somebody wrote, and store it; return it with its id.

        Raises:
            InvalidRuleError: it makes no sense, or an example fails.
            StoreUnavailableError: it could not be committed; nothing has changed.
            LimitReachedError: there are too many rules.
        """
        from parley_daemon.core.agents.policy.rule_checks import (
            check_rule,  # few daemons need the shell reader
        )

        if rule.scope.root is not None:
            rule = replace(rule, scope=RuleScope(root=await self.find_root(rule.scope.root, "scope.root")))
        if len(msgspec.json.encode(rule)) > MAX_RULE_BYTES:
            raise InvalidRuleError(f"the rule takes more than {MAX_RULE_BYTES // 1024} KiB", "")
        problem = check_rule(rule)
        if problem is not None:
            name = "notMatch" if problem.field == "not_match" else problem.field
            path = name if problem.index is None else f"{name}[{problem.index}]"
            raise InvalidRuleError(problem.text, path)
        return await self._state.add(owner, rule)

    async def remove(self, owner: str, rule_id: str) -> None:
        """Delete a stored rule.

        Raises:
            UnknownRuleError: there is none with this id.
            ReadOnlyConfigurationError: it is one of the configuration file or of a project.
            StoreUnavailableError: it could not be committed; nothing has changed.
        """
        if await self._state.remove(owner, rule_id):
            return
        if any(one.id == rule_id for one in self._configured.rules):
            raise ReadOnlyConfigurationError("The rule is in the configuration file. Remove it there.")
        if rule_id.startswith(_PROJECT):
            raise ReadOnlyConfigurationError(f"The rule is in {RULES_FILE} of a project. Remove it there.")
        raise UnknownRuleError("There is no rule with this id.")

    async def list(self, owner: str, chat: Chat | None, workspace: Workspace) -> ListedRules:
        """Return the rules that count for a chat, or in a workspace; without them, all that are no project's.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        owned = await self._state.refresh(owner)
        rules = (*owned.rules.values(), *self._configured.rules)
        if chat is None and not workspace.roots:
            return ListedRules(rules, (), self._configured.complaint)
        projects = await self._projects(owner, workspace)
        ids = frozenset[str]() if chat is None else chat.scope_ids
        counting = [one for one in rules if one.scope.chat_id is None or one.scope.chat_id in ids]
        listed = (*counting, *[rule for one in projects for rule in one.rules])
        return ListedRules(listed, tuple(projects), self._configured.complaint)

    async def _projects(self, owner: str, workspace: Workspace) -> Sequence[ProjectRules]:
        found: list[ProjectRules] = []
        for root in workspace.roots:
            file = await self._sources.files.read(root, RULES_FILE)
            if file is not None:
                found.append(await self._read_project(owner, root, file))
        return found

    async def _read_project(self, owner: str, root: str, file: ProjectFile) -> ProjectRules:
        uri = uri_of_path(root)
        parsed = await self._parse(uri, file)
        trusted = await self.is_trusted(owner, uri, file.hash)
        rules = parsed.rules if trusted else tuple([_distrust(one) for one in parsed.rules])
        return ProjectRules(uri, file.path, file.hash, trusted, rules, parsed.complaint)

    async def _parse(self, uri: str, file: ProjectFile) -> ParsedRules:
        """Return the rules of a project's file. They count below its root."""
        if file.content is None:
            return _broken(uri, file.problem or "")
        key = uri, file.hash
        parsed = self._parsed.get(key)
        if parsed is None:
            # In a thread: a foreign file can take half a second, and change again and again.
            parsed = await to_thread.run_sync(self._sources.parse, file.content, file.path, limiter=_parsers)
            if parsed.complaint is not None:
                parsed = _broken(uri, parsed.complaint)
            else:
                scope = RuleScope(root=uri)
                rules = [
                    replace(one, id=f"{_PROJECT}{file.hash[7:15]}:{number}", scope=scope, source="project")
                    for number, one in enumerate(parsed.rules, 1)
                ]
                parsed = ParsedRules(tuple([_expand(one, self._sources.home) for one in rules]))
            self._parsed[key] = parsed
            if len(self._parsed) > _PARSED:
                self._parsed.popitem(last=False)
        return parsed

    # ---------------------------------------------------------------------------- trust

    async def is_trusted(self, owner: str, root: str, hash: str) -> bool:
        """Return whether an owner trusts a file with this hash below a root, which is a URI.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        return bool(hash) and (root, hash) in (await self._state.of(owner)).trusted

    async def set_trust(self, owner: str, root: str, hash: str, *, trusted: bool) -> None:
        """Trust a file of a project as it is now, or withdraw the trust.

        Raises:
            InvalidRuleError: the root is no folder of this machine.
            ConflictError: no file of the project has this hash (any more).
            NotTrustedError: it is not trusted, so there is nothing to withdraw.
            StoreUnavailableError: it could not be committed; nothing has changed.
            LimitReachedError: too many files are trusted.
        """
        if not trusted:
            known = path_of_uri(root)
            uris = {root} if known is None else {root, uri_of_path(known)}
            if known is not None and (resolved := await self._sources.files.find_folder(known)) is not None:
                uris.add(uri_of_path(resolved))
            changed = [await self._state.set_trust(owner, uri, hash, trusted=False) for uri in uris]
            if not any(changed):
                raise NotTrustedError("This file is not trusted, so there is nothing to withdraw.")
            return
        uri = await self.find_root(root, "root")
        folder = path_of_uri(uri) or ""
        names = RULES_FILE, INSTRUCTIONS_FILE, MCP_FILE
        found = [await self._sources.files.read(folder, name) for name in names]
        if not hash or hash not in [one.hash for one in found if one is not None]:
            raise ConflictError("No file of the project has this hash (any more). Look at it again.")
        await self._state.set_trust(owner, uri, hash, trusted=True)

    async def find_root(self, uri: str, field: str) -> str:
        """Return the URI of the resolved folder of a URI.

        Raises:
            InvalidRuleError: it is no folder of this machine. `field` is its path on the wire.
        """
        path = path_of_uri(uri)
        found = None if path is None else await self._sources.files.find_folder(path)
        if found is None:
            raise InvalidRuleError("must be the file: URI of a folder on this machine", field)
        return uri_of_path(found)


_PROJECT = "project:"
"""How the ids of rules of projects begin."""


def _broken(uri: str, complaint: str) -> ParsedRules:
    """Return what counts below a root whose file of rules cannot be used."""
    rule = Rule(f"{_PROJECT}unreadable", "ask", "*", scope=RuleScope(root=uri), source="project")
    return ParsedRules((rule,), complaint)


def _distrust(rule: Rule) -> Rule:
    return replace(rule, source=UNTRUSTED)


def _expand(rule: Rule, home: str) -> Rule:
    """Return a rule whose patterns of paths name the home folder by its path."""
    if rule.paths is None or not any(one.startswith("~/") for one in rule.paths):
        return rule
    paths = [f"{home}{one[1:]}" if one.startswith("~/") else one for one in rule.paths]
    return replace(rule, paths=tuple(paths))
