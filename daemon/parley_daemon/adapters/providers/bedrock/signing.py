"""Signs requests with the credentials that AWS' usual chain finds, by botocore, in a thread of its own.

The chain reads files and may ask servers (single sign-on, roles, the machine's own), so the loop never waits
for it. botocore is loaded when the first request is signed.
"""

import importlib
import threading
import time
from collections.abc import Mapping
from typing import Any

import anyio.to_thread

from parley_daemon.adapters.providers.http.redaction import quote
from parley_daemon.core.records import Failure
from parley_daemon.ports.models import ModelError

_SERVICE = "bedrock"
_FRESH = 60.0  # seconds: then credentials that do not renew themselves are looked up again
_ADVICE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_BEARER_TOKEN_BEDROCK for the daemon, or profile"
    " in its configuration"
)


class AwsSigner:
    """Signature version 4 for one region. `profile` is of AWS' configuration; None: the usual one."""

    def __init__(self, provider: str, region: str, profile: str | None) -> None:
        self._provider = provider
        self._region = region
        self._profile = profile
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._found_at = 0.0

    async def headers(self, url: str, body: bytes | None) -> Mapping[str, str]:
        """Return the headers that sign a POST of JSON; without a body a GET.

        Raises:
            ModelError: there are no credentials, or they cannot be had.
        """
        # When the call is cancelled, a server that was asked for credentials may answer to nobody.
        return await anyio.to_thread.run_sync(self._signed, url, body, abandon_on_cancel=True)

    def _signed(self, url: str, body: bytes | None) -> dict[str, str]:
        auth: Any = importlib.import_module("botocore.auth")
        requests: Any = importlib.import_module("botocore.awsrequest")
        exceptions: Any = importlib.import_module("botocore.exceptions")
        try:
            credentials = self._found()
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            message = f"The AWS credentials of {self._provider} cannot be had."
            raise ModelError(Failure("auth", message, quote(str(error)), self._provider)) from error
        if credentials is None:
            message = f'Provider "{self._provider}" has no AWS credentials: {_ADVICE}.'
            raise ModelError(Failure("missing_key", message, None, self._provider))
        method, headers = ("GET", {}) if body is None else ("POST", {"Content-Type": "application/json"})
        request = requests.AWSRequest(method, url, headers=headers, data=body)
        auth.SigV4Auth(credentials, _SERVICE, self._region).add_auth(request)
        return {name: str(value) for name, value in request.headers.items() if name != "Content-Type"}

    def _found(self) -> Any:
        """Return the credentials as they are now; those that renew themselves do so here."""
        credentials: Any = importlib.import_module("botocore.credentials")
        sessions: Any = importlib.import_module("botocore.session")
        with self._lock:
            renews = isinstance(self._credentials, credentials.RefreshableCredentials)
            if self._credentials is None or (not renews and time.monotonic() - self._found_at > _FRESH):
                self._credentials = sessions.Session(profile=self._profile).get_credentials()
                self._found_at = time.monotonic()
            found = self._credentials
        return None if found is None else found.get_frozen_credentials()
