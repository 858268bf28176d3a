"""Signs requests with AWS credentials (signature version 4), by botocore, in a thread.

botocore's credential chain reads files and may call servers (single sign-on, roles, instance metadata), so it
never runs in the event loop. botocore is imported when the first request is signed.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
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
_FRESH = 60.0  # seconds after which credentials that do not renew themselves are read again
_ADVICE = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_BEARER_TOKEN_BEDROCK for the daemon, or profile"
    " in its configuration"
)


class AwsSigner:
    """Signs for one region. `profile` is a profile of AWS' configuration; None: the default one."""

    def __init__(self, provider: str, region: str, profile: str | None) -> None:
        self._provider = provider
        self._region = region
        self._profile = profile
        self._lock = threading.Lock()
        self._credentials: Any = None
        self._found_at = 0.0

    async def headers(self, url: str, body: bytes | None) -> Mapping[str, str]:
        """Return the headers that sign a POST of a JSON body, or a GET when `body` is None.

        Raises:
            ModelError: there are no credentials, or they cannot be read.
        """
        # When the call is cancelled, a request for credentials may still be in progress; its result is
        # dropped.
        return await anyio.to_thread.run_sync(self._sign, url, body, abandon_on_cancel=True)

    def _sign(self, url: str, body: bytes | None) -> dict[str, str]:
        auth: Any = importlib.import_module("botocore.auth")
        requests: Any = importlib.import_module("botocore.awsrequest")
        exceptions: Any = importlib.import_module("botocore.exceptions")
        try:
            credentials = self._load_credentials()
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            message = f"The AWS credentials of {self._provider} cannot be loaded."
            raise ModelError(Failure("auth", message, quote(str(error)), self._provider)) from error
        if credentials is None:
            message = f'Provider "{self._provider}" has no AWS credentials: {_ADVICE}.'
            raise ModelError(Failure("missing_key", message, None, self._provider))
        method, headers = ("GET", {}) if body is None else ("POST", {"Content-Type": "application/json"})
        request = requests.AWSRequest(method, url, headers=headers, data=body)
        auth.SigV4Auth(credentials, _SERVICE, self._region).add_auth(request)
        return {name: str(value) for name, value in request.headers.items() if name != "Content-Type"}

    def _load_credentials(self) -> Any:
        """Return the current credentials. Credentials that renew themselves do so here."""
        credentials: Any = importlib.import_module("botocore.credentials")
        sessions: Any = importlib.import_module("botocore.session")
        with self._lock:
            renews = isinstance(self._credentials, credentials.RefreshableCredentials)
            if self._credentials is None or (not renews and time.monotonic() - self._found_at > _FRESH):
                self._credentials = sessions.Session(profile=self._profile).get_credentials()
                self._found_at = time.monotonic()
            found = self._credentials
        return None if found is None else found.get_frozen_credentials()
