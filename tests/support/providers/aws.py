"""What AWS does at its end: frames of its event stream, and the check of a request's signature."""

import base64
import binascii
import importlib
import json
import re
import struct
from collections.abc import Mapping
from typing import Any

from tests.support.providers.server import Request

ACCESS_KEY, SECRET_KEY, TOKEN = "AKIACANARY0123456789", "secret-canary-0123456789", "token-canary-0123456789"


def frame(headers: Mapping[str, str], payload: bytes, kind: int = 7) -> bytes:
    """Return one frame with these headers; `kind` says of what type they are, strings as a rule."""
    head = b"".join(
        [
            struct.pack("!B", len(name))
            + name.encode()
            + struct.pack("!BH", kind, len(value))
            + value.encode()
            for name, value in headers.items()
        ]
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + head + payload
    return message + struct.pack("!I", binascii.crc32(message))


def chunk(event: Mapping[str, Any]) -> bytes:
    """Return a model's event as Bedrock sends it, with the padding that hides its length."""
    inner = base64.b64encode(json.dumps(event).encode()).decode()
    head = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(head, json.dumps({"bytes": inner, "p": "abcdefghijk"}).encode())


def exception(name: str, message: str, **fields: Any) -> bytes:
    """Return an exception in the stream."""
    head = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(head, json.dumps({"message": message, **fields}).encode())


def signature_faults(request: Request, region: str, token: str | None = None) -> list[str]:
    """Sign a request again as it came, with what the service knows, and say where it was signed otherwise."""
    said = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        request.headers.get("authorization", ""),
    )
    if said is None:
        return [f"no signature: {request.headers.get('authorization')}"]
    date = request.headers["x-amz-date"]
    faults: list[str] = []
    if said[1] != f"{ACCESS_KEY}/{date[:8]}/{region}/bedrock/aws4_request":
        faults.append(f"signed for {said[1]}")
    names = said[2].split(";")
    faults += [f"{name} is not signed" for name in ("host", "x-amz-date") if name not in names]
    if request.headers.get("x-amz-security-token") != token or (
        token and "x-amz-security-token" not in names
    ):
        faults.append("the session's token is missing")
    auth: Any = importlib.import_module("botocore.auth")
    requests: Any = importlib.import_module("botocore.awsrequest")
    credentials: Any = importlib.import_module("botocore.credentials")
    url = f"http://{request.headers['host']}{request.path}"
    again = requests.AWSRequest(
        request.method, url, {name: request.headers[name] for name in names if name != "host"}, request.body
    )
    again.context["timestamp"] = date
    signer = auth.SigV4Auth(credentials.Credentials(ACCESS_KEY, SECRET_KEY, token), "bedrock", region)
    string = signer.string_to_sign(again, signer.canonical_request(again))
    if signer.signature(string, again) != said[3]:
        faults.append("the signature is not of this request")
    return faults
