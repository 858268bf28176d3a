"""`parley providers`, `provider` and `model`: the configuration of providers and models.

An API key is read from the terminal or from standard input, not from the command line, which other users of
the machine can see.
"""

import argparse
import getpass
import sys
from typing import Any

from parley_clients.cli.display.plain import print_json
from parley_clients.cli.errors import EXIT_FAILURE, CommandError, UsageError, check_text
from parley_clients.cli.messages import describe_turn_error, escape_controls, one_line
from parley_clients.cli.options import connect_daemon
from parley_clients.results import Json
from parley_clients.sync import Client


def list_providers(options: argparse.Namespace) -> int:
    """Print the configured providers, and with --all also those that could be configured."""
    with connect_daemon(options) as client:
        raw = client.providers.list().raw
    shown = [
        provider
        for provider in raw["providers"]
        if options.all or provider["source"] != "supported" or provider["enabled"]
    ]
    if options.json:
        print_json({"providers": shown})
        return 0
    for provider in shown:
        key = "has a key" if provider["hasApiKey"] else "no key"
        state = "off" if provider["source"] != "supported" else "not configured"
        fields = (
            provider["provider"],
            provider["type"],
            provider["source"],
            key,
            provider["baseUrl"] or "",
            "" if provider["enabled"] else state,
        )
        sys.stdout.write("\t".join([one_line(field) for field in fields]).rstrip() + "\n")
    return 0


def configure_provider(options: argparse.Namespace) -> int:
    """Configure, change, remove or check a provider."""
    name: str = options.name
    changes = _provider_changes(options)
    if options.action != "add" and options.type is not None:
        raise UsageError("--type is for add only: the type of a provider cannot be changed.")
    if options.action in ("rm", "check") and changes:
        raise UsageError(f"{options.action} takes only the name of the provider.")
    if options.action == "set" and not changes:
        raise UsageError("What to change? Give --url, --title, --key, --no-key or --switch.")
    with connect_daemon(options) as client:
        match options.action:
            case "add":
                raw = client.providers.create(name, options.type or name, **changes).raw
            case "set":
                raw = client.providers.update(name, **changes).raw
            case "rm":
                client.providers.delete(name)
                return 0
            case _:
                return _check_provider(client, options)
    if options.json:
        print_json(raw)
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
    """Return the API key from the terminal, without echo, or from standard input."""
    if sys.stdin.isatty():
        try:
            key = getpass.getpass(f"API key of {name}: ")
        except EOFError:
            key = ""
    else:
        key = sys.stdin.readline()
    if not check_text(key, "The API key").strip():
        raise CommandError("The API key is empty.")
    return key.strip()


def _check_provider(client: Client, options: argparse.Namespace) -> int:
    raw = client.providers.check(options.name).raw
    if options.json:
        print_json(raw)
        return 0 if raw["ok"] else EXIT_FAILURE
    sys.stdout.write(escape_controls("\n".join(_check_lines(options.name, raw))) + "\n")
    return 0 if raw["ok"] else EXIT_FAILURE


def _check_lines(name: str, raw: Json) -> list[str]:
    lines = [f"{name}: {'it works.' if raw['ok'] else describe_turn_error({**raw['error'], 'detail': None})}"]
    if raw["method"] is not None:
        status = "no response" if raw["statusCode"] is None else str(raw["statusCode"])
        lines.append(f"{raw['method']} {raw['url']}  {status}  {raw['durationMs']} ms")
    if raw["answer"]:
        lines += [f"  {line}" for line in raw["answer"].splitlines()]
    if fields := raw.get("omittedFields"):
        lines.append(f"Left out of requests, because {name} refuses it: {', '.join(fields)}.")
    return lines


def configure_model(options: argparse.Namespace) -> int:
    """List, change or remove the configuration of models."""
    if options.action == "list":
        return _list_models(options)
    id: str = options.id or ""
    changes = _model_changes(options)
    if not id:
        raise UsageError("Give the model as PROVIDER:MODEL.")
    with connect_daemon(options) as client:
        id = _full_name(client, id)
        if options.action == "rm":
            if changes:
                raise UsageError("rm takes only the model.")
            client.model_configs.delete(id)
            return 0
        listed = client.model_configs.list(id.partition(":")[0]).raw["modelConfigs"]
        if any(config["model"] == id.partition(":")[2] for config in listed):
            raw = client.model_configs.update(id, **changes).raw
        else:
            raw = client.model_configs.create(id, **changes).raw
    if options.json:
        print_json(raw)
    return 0


def _full_name(client: Client, name: str) -> str:
    """Return the id of a model; its provider may be left out if only one provider has the model."""
    providers: list[Json] = client.models().raw["providers"]
    owner, _, model = name.partition(":")
    if model and any(provider["provider"] == owner for provider in providers):
        return name
    found = [
        str(model["id"])
        for provider in providers
        for model in provider["models"]
        if str(model["model"]).casefold() == name.casefold()
    ]
    if len(found) > 1:
        raise CommandError(f"Several providers have a model {name}; name one of: {', '.join(found)}.")
    if not found and not model:
        raise UsageError("Give the model as PROVIDER:MODEL.")
    return found[0] if found else name


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


def _list_models(options: argparse.Namespace) -> int:
    with connect_daemon(options) as client:
        configs = client.model_configs.list(options.id and options.id.partition(":")[0]).raw["modelConfigs"]
    for config in configs:
        if options.json:
            print_json(config)
            continue
        notes = ["default"] if config["isDefault"] else []
        notes += [] if config["enabled"] else ["off"]
        limit = "" if config["contextLimit"] is None else str(config["contextLimit"])
        id = f"{config['provider']}:{config['model']}"
        fields = (id, config["displayName"] or "", limit, config["source"], ", ".join(notes))
        sys.stdout.write("\t".join([one_line(field) for field in fields]).rstrip() + "\n")
    return 0
