"""`parley providers`, `provider` and `model`: how providers and models are configured, shown and changed.

A key is read from the terminal or from standard input, and never from the command line: others can see that.
"""

import argparse
import getpass
import sys
from typing import Any

from parley_clients.cli.display.plain import write_json
from parley_clients.cli.display.sanitize import clean, one_line
from parley_clients.cli.messages import failure
from parley_clients.cli.options import CommandError, UsageError, check_text, client
from parley_clients.results import Json
from parley_clients.sync import Client


def providers(options: argparse.Namespace) -> int:
    """Print how providers are configured, and with --all which could be."""
    with client(options) as daemon:
        raw = daemon.providers.list().raw
    shown = [one for one in raw["providers"] if options.all or one["source"] != "supported" or one["enabled"]]
    if options.json:
        write_json({"providers": shown})
        return 0
    for one in shown:
        state = "" if one["enabled"] else "off" if one["source"] != "supported" else "not configured"
        key = "has a key" if one["hasApiKey"] else "no key"
        fields = (one["provider"], one["type"], one["source"], key, one["baseUrl"] or "", state)
        sys.stdout.write("\t".join([one_line(field) for field in fields]).rstrip() + "\n")
    return 0


def provider(options: argparse.Namespace) -> int:
    """Configure, change, forget or try a provider."""
    name: str = options.name
    changes = _provider_changes(options)
    if options.action != "add" and options.type is not None:
        raise UsageError("The type is given when a provider is added; it cannot be changed.")
    if options.action in ("rm", "check") and changes:
        raise UsageError(f"{options.action} takes the name alone.")
    with client(options) as daemon:
        match options.action:
            case "add":
                raw = daemon.providers.create(name, options.type or name, **changes).raw
            case "set":
                raw = daemon.providers.update(name, **changes).raw
            case "rm":
                daemon.providers.delete(name)
                return 0
            case _:
                return _check(daemon, options)
    if options.json:
        write_json(raw)
    return 0


def _provider_changes(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if options.url is not None:
        changes["base_url"] = check_text(options.url, "The address") or None
    if options.title is not None:
        changes["display_name"] = check_text(options.title, "The title") or None
    if options.switch is not None:
        changes["enabled"] = options.switch == "on"
    if options.key:
        changes["api_key"] = _read_key(options.name)
    elif options.no_key:
        changes["api_key"] = None
    return changes


def _read_key(name: str) -> str:
    """Return the key that somebody types without seeing it, or that is piped in."""
    if sys.stdin.isatty():
        try:
            key = getpass.getpass(f"The key of {name}: ")
        except EOFError:
            key = ""
    else:
        key = sys.stdin.readline()
    if not check_text(key, "The key").strip():
        raise CommandError("There is no key.")
    return key.strip()


def _check(daemon: Client, options: argparse.Namespace) -> int:
    raw = daemon.providers.check(options.name).raw
    if options.json:
        write_json(raw)
        return 0 if raw["ok"] else 1
    sys.stdout.write(clean("\n".join(_checked(options.name, raw))) + "\n")
    return 0 if raw["ok"] else 1


def _checked(name: str, raw: Json) -> list[str]:
    lines = [f"{name}: {'it works.' if raw['ok'] else failure({**raw['error'], 'detail': None})}"]
    if raw["method"] is not None:
        status = "no answer" if raw["statusCode"] is None else str(raw["statusCode"])
        lines.append(f"{raw['method']} {raw['url']}  {status}  {raw['durationMs']} ms")
    if raw["answer"]:
        lines += [f"  {line}" for line in raw["answer"].splitlines()]
    return lines


def model(options: argparse.Namespace) -> int:
    """Show, change or forget how models are configured."""
    if options.action == "list":
        return _models(options)
    id: str = options.id or ""
    if not id.partition(":")[2]:
        raise UsageError("Name the model as PROVIDER:MODEL.")
    changes = _model_changes(options)
    with client(options) as daemon:
        if options.action == "rm":
            if changes:
                raise UsageError("rm takes the model alone.")
            daemon.model_configs.delete(id)
            return 0
        listed = daemon.model_configs.list(id.partition(":")[0]).raw["modelConfigs"]
        if any(one["model"] == id.partition(":")[2] for one in listed):
            raw = daemon.model_configs.update(id, **changes).raw
        else:
            raw = daemon.model_configs.create(id, **changes).raw
    if options.json:
        write_json(raw)
    return 0


def _model_changes(options: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if options.title is not None:
        changes["display_name"] = check_text(options.title, "The title") or None
    if options.context_limit is not None:
        changes["context_limit"] = options.context_limit
    if options.switch is not None:
        changes["enabled"] = options.switch == "on"
    if options.default:
        changes["is_default"] = True
    return changes


def _models(options: argparse.Namespace) -> int:
    with client(options) as daemon:
        found = daemon.model_configs.list(options.id and options.id.partition(":")[0]).raw["modelConfigs"]
    for one in found:
        if options.json:
            write_json(one)
            continue
        notes = ["default"] if one["isDefault"] else []
        notes += [] if one["enabled"] else ["off"]
        limit = "" if one["contextLimit"] is None else str(one["contextLimit"])
        id = f"{one['provider']}:{one['model']}"
        fields = (id, one["displayName"] or "", limit, one["source"], ", ".join(notes))
        sys.stdout.write("\t".join([one_line(field) for field in fields]).rstrip() + "\n")
    return 0
