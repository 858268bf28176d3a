"""Loads the client's half of the SDK.

The packages `mcp` and `mcp.client` import the SDK's servers as well, with web frameworks: 16 MB and 0.3 s
that no client needs. So they are entered as packages whose `__init__` does not run. Only modules without it
are then imported. If a later version of the SDK does not work like this, it is imported in the usual way.
"""

import importlib
import os
import sys
import types
from importlib import util

_PACKAGES = ("mcp", "mcp.client")
_NEEDED = ("mcp.client.session", "mcp.client.subscriptions", "mcp.shared.jsonrpc_dispatcher")


class SdkError(Exception):
    """The SDK is missing, or too old. The message is a sentence."""


def load_sdk() -> None:
    """Import what is needed of the SDK. Call it before anything else imports it.

    Raises:
        SdkError: it cannot be imported.
    """
    spec = util.find_spec("mcp")
    if spec is None or not spec.submodule_search_locations:
        raise SdkError("The package mcp is missing: pip install 'parleyd[mcp]'.")
    folder = next(iter(spec.submodule_search_locations))
    for name in _PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [os.path.join(folder, *name.split(".")[1:])]
        sys.modules[name] = package
    try:
        for name in _NEEDED:
            importlib.import_module(name)
    except (ImportError, AttributeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "mcp"]:
            del sys.modules[name]
        try:
            for name in _NEEDED:
                importlib.import_module(name)
        except ImportError as error:
            message = "The package mcp is too old or too new: pip install --upgrade 'parleyd[mcp]'."
            raise SdkError(message) from error
