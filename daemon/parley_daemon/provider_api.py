"""The public API for packages that bring a provider type.

Promise of stability: what this module exports keeps its name and its meaning within a minor version of
parleyd (0.2.x), and CHANGELOG.md announces every incompatible change. Everything else in `parley_daemon` may
change at any time. A package imports from here only; docs/providers.md has a complete example.

- The row: `ProviderType`, `Access`, `over_http`; for lists of models `Listed`, `Fetch` and `NotThereError`.
- The dialect: `Dialect`, `Question`, `endpoint`, `sampling`, `mapped`, `Json`, `encode_mended`; the errors
  `EmptyPromptError` and `UnfitRequestError`.
- The answer: `Fold`, `Call`, `PieceBuffer`, `OpenCall`; `Framing`, `Received`, `SseParser`,
  `MAX_EVENT_BYTES`, `EventTooLargeError` and `BrokenFramingError` for framings other than server-sent events.
- The port: `Model`, `ModelRequest`, `PromptMessage`, `Batch`, `Chunk`, `UsageReport`, `Finish`, `ModelError`.
- The records: `Usage`, `Failure`, `ModelSettings`, the parts of a message (`Part`, `Text`, `Reasoning`,
  `File`, `Source`, `ToolCall`, `ToolResult`) and `plain_text`.
"""

from parley_daemon.adapters.providers.http.endpoints import endpoint
from parley_daemon.adapters.providers.http.failures import Call
from parley_daemon.adapters.providers.http.json_request import NotThereError
from parley_daemon.adapters.providers.http.lenient_json import encode_mended
from parley_daemon.adapters.providers.http.sse import MAX_EVENT_BYTES, EventTooLargeError, Received, SseParser
from parley_daemon.adapters.providers.provider_type import Access, ProviderType, over_http
from parley_daemon.adapters.providers.shared.dialect import (
    BrokenFramingError,
    Dialect,
    EmptyPromptError,
    Fold,
    Framing,
    Question,
    UnfitRequestError,
)
from parley_daemon.adapters.providers.shared.model_list import Fetch, Listed
from parley_daemon.adapters.providers.shared.options import Json, mapped, sampling
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
    UsageReport,
)

__all__ = [
    "MAX_EVENT_BYTES",
    "Access",
    "Batch",
    "BrokenFramingError",
    "Call",
    "Chunk",
    "Dialect",
    "EmptyPromptError",
    "EventTooLargeError",
    "Failure",
    "Fetch",
    "File",
    "Finish",
    "Fold",
    "Framing",
    "Json",
    "Listed",
    "Model",
    "ModelError",
    "ModelRequest",
    "ModelSettings",
    "NotThereError",
    "OpenCall",
    "Part",
    "PieceBuffer",
    "PromptMessage",
    "ProviderType",
    "Question",
    "Reasoning",
    "Received",
    "Source",
    "SseParser",
    "Text",
    "ToolCall",
    "ToolResult",
    "UnfitRequestError",
    "Usage",
    "UsageReport",
    "encode_mended",
    "endpoint",
    "mapped",
    "over_http",
    "plain_text",
    "sampling",
]
