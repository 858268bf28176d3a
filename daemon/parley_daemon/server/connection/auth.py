"""Who may talk: the token of the runtime file, compared in constant time. Knows no connection."""

import hmac
from typing import Any

from parley_daemon.server.wire.jsonrpc import as_object


def check_token(initialize_params: dict[str, Any], expected: str) -> bool:
    """Return whether `initializationOptions.token` is the daemon's token."""
    token = as_object(initialize_params.get("initializationOptions")).get("token")
    if not isinstance(token, str) or not expected:
        return False
    return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), expected.encode())
