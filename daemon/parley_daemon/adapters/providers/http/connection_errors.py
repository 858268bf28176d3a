"""Turns failures of connections into errors for users.

aiohttp's own texts are for programmers: they name its classes and parameters. Only the words of the operating
system, of TLS and of the server are quoted.
"""

import os
import socket
import ssl

from parley_daemon.adapters.providers.http.endpoints import is_local
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.proxies import Proxy
from parley_daemon.ports.models import ModelError

_TOO_LARGE = ("Got more than", "Too many headers")  # how aiohttp's messages about such headers begin


def connection_error(call: Call, error: Exception, connect_seconds: float, proxy: Proxy | None) -> ModelError:
    """Return the error of a request that got no response. aiohttp is loaded by then."""
    import aiohttp

    detail, origin = reason_of(error), call.origin
    match error:
        case aiohttp.ClientConnectorDNSError() | aiohttp.ClientProxyConnectionError() if proxy is not None:
            message = f"The proxy {proxy.url} cannot be reached; check {proxy.variable}."
            return call.error("network", message, detail, retryable=True)
        case aiohttp.ClientHttpProxyError() if proxy is not None and error.status == 407:
            message = f"The proxy {proxy.url} requires a user name and a password; check {proxy.variable}."
            return call.error("auth", message, detail, retryable=False)
        case aiohttp.ClientHttpProxyError() if proxy is not None:
            message = f"The proxy {proxy.url} refused the connection to {origin} (HTTP {error.status})."
            return call.error("network", message, detail, retryable=False)
        case aiohttp.ClientConnectorDNSError():
            message = f"The host name in {origin} cannot be resolved; check base_url and the network."
            return call.error("network", message, detail, retryable=True)
        case aiohttp.ClientConnectorCertificateError():
            message = f"The certificate of {origin} is not trusted by this machine."
            return call.error("network", message, detail, retryable=False)
        case aiohttp.ClientSSLError():
            message = (
                f"The TLS handshake with {origin} failed; check whether base_url should begin with http://."
            )
            return call.error("network", message, detail, retryable=False)
        case TimeoutError():
            message = f"{origin} did not accept a connection within {connect_seconds:g} s."
            return call.error("timeout", message, detail, retryable=True)
        case aiohttp.ClientConnectorError():
            advice = "Is the server running?" if is_local(call.url) else "Check base_url and the network."
            return call.error("network", f"Nothing answers at {origin}. {advice}", detail, retryable=True)
        case aiohttp.ClientResponseError() if error.message.startswith(_TOO_LARGE):
            message = f"The headers of the answer from {origin} are too large."
            return call.error("bad_stream", message, detail, retryable=False)
        case aiohttp.ClientResponseError():
            message = f"The server at {origin} does not answer in HTTP; check base_url."
            return call.error("bad_stream", message, detail, retryable=False)
        case aiohttp.ClientConnectionError() | OSError():
            message = f"{origin} closed the connection without an answer."
            return call.error("network", message, detail, retryable=True)
        case _:
            message = f"No request can be sent to {origin}; check base_url."
            return call.error("invalid_request", message, detail, retryable=False)


def reason_of(error: Exception) -> str:
    """Return why a connection failed, in the words of the operating system, of TLS or of the server."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorCertificateError():
            return _words_of(error.certificate_error)
        case aiohttp.ClientConnectorError():
            return _words_of(error.os_error)
        case aiohttp.ClientResponseError():
            return error.message
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | TimeoutError():
            return ""
        case _:
            return _words_of(error)


def _words_of(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError() if error.reason:
            return error.reason.replace("_", " ").lower()
        case socket.gaierror():
            return error.strerror or ""
        case OSError() if error.errno is not None:
            return os.strerror(error.errno)
        case _:
            return str(error)
