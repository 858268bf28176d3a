"""Permission rules and instructions as wire objects, and rules as clients write them."""

from typing import Any

from parley_daemon.core.agents.rule_texts import rule_text
from parley_daemon.core.agents.rules import Rule, RuleScope, Verdict
from parley_daemon.engine.agents.policy.instructions import InstructionFile
from parley_daemon.engine.agents.policy.permissions import ProjectRules
from parley_daemon.server.wire.agents import offered_rule, rule_scope
from parley_daemon.server.wire.uris import file_uri
from parley_protocol.models.agents.permissions import PermissionAddParams
from parley_protocol.models.objects import ChatScope, RootScope


def rule(one: Rule) -> dict[str, Any]:
    """Return a PermissionRule."""
    return {
        "id": one.id,
        "effect": one.effect,
        "tool": one.tool,
        "command": one.command,
        "exact": one.exact,
        "paths": one.paths,
        "hosts": one.hosts,
        "network": one.network,
        "human": one.human,
        "scope": rule_scope(one.scope),
        "expiresAt": one.expires_at,
        "match": one.match,
        "notMatch": one.not_match,
        "source": one.source,
        "text": rule_text(one),
    }


def core_rule(params: PermissionAddParams) -> Rule:
    """Return the rule that a client wants to add. Its id is empty."""
    scope = RuleScope()
    if isinstance(params.scope, ChatScope):
        scope = RuleScope(chat_id=params.scope.chat_id)
    elif isinstance(params.scope, RootScope):
        scope = RuleScope(root=params.scope.root)
    return Rule(
        "",
        params.effect,
        params.tool,
        command=params.command,
        paths=None if params.paths is None else tuple(params.paths),
        hosts=None if params.hosts is None else tuple(params.hosts),
        human=params.human,
        scope=scope,
        expires_at=params.expires_at,
        match=tuple(params.match),
        not_match=tuple(params.not_match),
        exact=params.exact,
        network=params.network,
    )


def project(one: ProjectRules) -> dict[str, Any]:
    """Return a ProjectRules."""
    return {
        "root": one.uri,
        "uri": file_uri(one.path),
        "hash": one.hash,
        "trusted": one.trusted,
        "complaint": one.complaint,
    }


def explanation(verdict: Verdict) -> dict[str, Any]:
    """Return a PermissionExplainResult."""
    return {
        "decision": verdict.decision,
        "rules": verdict.rules,
        "why": verdict.why,
        "commands": verdict.commands,
        "rememberable": bool(verdict.rememberable),
        "offers": [offered_rule(one) for one in verdict.rememberable],
        "human": verdict.human,
        "network": verdict.network,
    }


def instruction_file(one: InstructionFile) -> dict[str, Any]:
    """Return an InstructionFile."""
    return {
        "uri": file_uri(one.path),
        "root": one.root,
        "hash": one.hash,
        "state": one.state,
        "text": one.text,
        "size": one.size,
        "truncated": one.is_cut,
        "problem": one.problem,
    }
