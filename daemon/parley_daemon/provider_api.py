"""The public API for packages that bring a provider type.

Promise of stability: what this module exports keeps its name and its meaning within a minor version of
parleyd (0.2.x), and CHANGELOG.md announces every incompatible change. Everything else in `parley_daemon` may
change at any time. A package imports from here only; docs/providers.md has a complete example.

- The row: `ProviderType`, `Access`, `make_http_model`; for a list of models `ListedModel`, `Fetch` and
  `NotFoundError`.
- The dialect: `Dialect`, `PreparedRequest`, `endpoint_url`, `map_settings`, `map_options`, `Json`,
  `encode_json`; the errors `EmptyPromptError` and `InvalidRequestError`.
- The answer: `Parser`, `Call`, `PieceBuffer`, `OpenCall`; `Framing`, `Payloads`, `SseParser`,
  `MAX_EVENT_BYTES`, `EventTooLargeError` and `FramingError` for framings other than server-sent events.
- The port: `Model`, `ModelRequest`, `PromptMessage`, `ToolDeclaration`, `Batch`, `Chunk`, `UsageReport`,
  `Finish`, `ModelError`.
- The records: `Usage`, `Failure`, `ModelSettings`, the parts of a message (`Part`, `Text`, `Reasoning`,
  `File`, `Source`, `ToolCall`, `ToolResult`) and `plain_text`.
"""

from parley_daemon.adapters.providers.http.endpoints import endpoint_url
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.json_client import NotFoundError
from parley_daemon.adapters.providers.http.lenient_json import encode_json
from parley_daemon.adapters.providers.http.sse import MAX_EVENT_BYTES, EventTooLargeError, Payloads, SseParser
from parley_daemon.adapters.providers.provider_type import Access, ProviderType, make_http_model
from parley_daemon.adapters.providers.shared.dialect import (
    Dialect,
    EmptyPromptError,
    Framing,
    FramingError,
    InvalidRequestError,
    Parser,
    PreparedRequest,
)
from parley_daemon.adapters.providers.shared.model_list import Fetch, ListedModel
from parley_daemon.adapters.providers.shared.options import Json, map_options, map_settings
from parley_daemon.adapters.providers.shared.piece_buffer import OpenCall, PieceBuffer
from parley_daemon.core.parts import File, Part, Reasoning, Source, Text, ToolCall, ToolResult, plain_text
from parley_daemon.core.records import Failure, ModelSettings, Usage
from parley_daemon.ports.models import (
    Batch,
    Chunk,
    Finish,
    Model,
    ModelError,
    ModelRequest,
    PromptMessage,
    ToolDeclaration,
    UsageReport,
)

__all__ = [
    "MAX_EVENT_BYTES",
    "Access",
    "Batch",
    "Call",
    "Chunk",
    "Dialect",
    "EmptyPromptError",
    "EventTooLargeError",
    "Failure",
    "Fetch",
    "File",
    "Finish",
    "Framing",
    "FramingError",
    "InvalidRequestError",
    "Json",
    "ListedModel",
    "Model",
    "ModelError",
    "ModelRequest",
    "ModelSettings",
    "NotFoundError",
    "OpenCall",
    "Parser",
    "Part",
    "Payloads",
    "PieceBuffer",
    "PreparedRequest",
    "PromptMessage",
    "ProviderType",
    "Reasoning",
    "Source",
    "SseParser",
    "Text",
    "ToolCall",
    "ToolDeclaration",
    "ToolResult",
    "Usage",
    "UsageReport",
    "encode_json",
    "endpoint_url",
    "make_http_model",
    "map_options",
    "map_settings",
    "plain_text",
]
