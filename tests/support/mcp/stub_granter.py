"""An MCP server that wants an authorization, and its authorization server, on one port of loopback.

It checks what a client has to send, and records the faults. The attributes are what a test may change. With
a token that it accepts, the MCP server has one tool, `echo`.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

Json = dict[str, Any]


class StubGranter:
    """The two servers.

    Attributes:
        metadata: what replaces fields of the authorization server's metadata; None: removes one.
        resource: what replaces the `resource` that the MCP server names.
        challenge: whether the MCP server names its metadata in its answer.
        refuses: the error of each token request, if any.
        expires_in: seconds for which tokens hold.
        granted: how many tokens were given.
        accepted: the tokens that the MCP server takes.
        open: the methods of the MCP server that need no token.
        effects: how often the tool has run.
        requests: the method and path of each request.
        faults: what clients did wrong.
    """

    def __init__(self) -> None:
        self.metadata: Json = {}
        self.resource: str | None = None
        self.challenge = True
        self.refuses: str | None = None
        self.expires_in: int | None = 3600
        self.granted = 0
        self.accepted: set[str] = set()
        self.open: set[str] = set()
        self.effects = 0
        self.requests: list[str] = []
        self.faults: list[str] = []
        self.url = ""
        self._clients: dict[str, Json] = {}
        self._codes: dict[str, Json] = {}
        self._renewals: set[str] = set()

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    def answer(self, method: str, target: str, body: bytes, token: str) -> tuple[int, Json, dict[str, str]]:
        path = urlsplit(target).path
        self.requests.append(f"{method} {path}")
        self._expect(path == "/mcp" or not token, "a header Authorization")
        match path:
            case "/mcp":
                message: Json = json.loads(body) if method == "POST" else {}
                if token in self.accepted or message.get("method") in self.open:
                    return self._serve(message)
                named = f'Bearer resource_metadata="{self.url}/meta"' if self.challenge else "Bearer"
                return 401, {}, {"WWW-Authenticate": named}
            case "/meta" | "/.well-known/oauth-protected-resource/mcp":
                resource = self.resource or self.mcp
                return 200, {"resource": resource, "authorization_servers": [self.url]}, {}
            case "/.well-known/oauth-authorization-server":
                found = {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "registration_endpoint": f"{self.url}/register",
                    "code_challenge_methods_supported": ["S256"],
                    **self.metadata,
                }
                return 200, {name: value for name, value in found.items() if value is not None}, {}
            case "/register":
                client_id = f"client{len(self._clients)}"
                self._clients[client_id] = json.loads(body)
                return 201, {"client_id": client_id}, {}
            case "/token":
                return self._token(dict(parse_qsl(body.decode())))
            case _:
                return 404, {}, {}

    def _serve(self, message: Json) -> tuple[int, Json, dict[str, str]]:
        if "method" not in message:
            return 405, {}, {}
        if "id" not in message:
            return 202, {}, {}
        reply: Json
        match message["method"]:
            case "initialize":
                info = {"name": "guarded", "version": "1"}
                reply = {"protocolVersion": "2025-11-25", "serverInfo": info, "capabilities": {"tools": {}}}
            case "tools/list":
                reply = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                self.effects += 1
                reply = {"content": [{"type": "text", "text": "hello"}]}
            case _:
                error = {"code": -32601, "message": "Method not found"}
                return 200, {"jsonrpc": "2.0", "id": message["id"], "error": error}, {}
        return 200, {"jsonrpc": "2.0", "id": message["id"], "result": reply}, {}

    def consent(self, url: str) -> tuple[str, Json]:
        """Do what a browser does whose person allows it; return the redirect's address and parameters."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        client = self._clients[query["client_id"]]
        self._expect(query["redirect_uri"] in client["redirect_uris"], "redirect_uri")
        self._expect(query["response_type"] == "code", "response_type")
        self._expect(query["code_challenge_method"] == "S256", "code_challenge_method")
        self._expect(query["resource"] == (self.resource or self.mcp), "resource")
        code = f"code{len(self._codes)}"
        self._codes[code] = query
        return query["redirect_uri"], {"code": code, "state": query["state"]}

    def _token(self, form: Json) -> tuple[int, Json, dict[str, str]]:
        if self.refuses is not None:
            return 400, {"error": self.refuses, "error_description": "s3cret"}, {}
        if form["grant_type"] == "authorization_code":
            asked = self._codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            self._expect(asked is not None and asked["code_challenge"] == challenge, "code_verifier")
            self._expect(asked is not None and asked["redirect_uri"] == form["redirect_uri"], "redirect_uri")
        else:
            self._expect(form["refresh_token"] in self._renewals, "refresh_token")
            self._renewals.discard(form["refresh_token"])
        self._expect(form["client_id"] in self._clients, "client_id")
        self.granted += 1
        self._renewals.add(f"renewal{self.granted}")
        token: Json = {
            "access_token": f"token{self.granted}",
            "token_type": "Bearer",
            "refresh_token": f"renewal{self.granted}",
        }
        return 200, token if self.expires_in is None else {**token, "expires_in": self.expires_in}, {}

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.faults.append(what)


@contextmanager
def stub_granter() -> Generator[StubGranter]:
    """Serve while the block runs; afterwards no client must have done anything wrong."""
    stub = StubGranter()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, answer, headers = stub.answer(self.command, self.path, body, token)
            headers = {"Content-Type": "application/json", **headers}
            content = b"" if status == 202 else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - the names of the standard library

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert stub.faults == []
