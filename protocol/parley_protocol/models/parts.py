"""The parts of messages: as stored, as sent by clients, and as streamed.

Each part has the field `type` and only the fields of its type. Optional fields are absent when empty.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from parley_protocol.models import files
from parley_protocol.models.base import (
    CLIENT_CONTEXT,
    Line,
    OptionalFloat,
    OptionalInt,
    OptionalStr,
    Wire,
    absent_when_none,
    check_not_blank,
)

ToolOutcome = Literal["ok", "failed", "denied", "interrupted", "timed_out"]


class TextPart(Wire):
    """Text in Markdown. When streamed, `text` is the new piece only."""

    type: Literal["text"] = "text"
    text: str
    """Text in Markdown; when streamed, only the new piece."""


class ReasoningPart(Wire):
    """The model's reasoning. When streamed, `text` is the new piece only.

    `title` is a heading that the provider gave, `signature` the provider's proof of the text, which is sent
    back to it unchanged. Both come with a later piece.
    """

    type: Literal["reasoning"] = "reasoning"
    text: str
    """The model's reasoning; when streamed, only the new piece."""
    title: OptionalStr = None
    """A heading that the provider gave."""
    signature: OptionalStr = None


class ToolCallPart(Wire):
    """A call of a tool by the model. `args` is any JSON value. `toolCallId` is unique in the message."""

    type: Literal["tool-call"] = "tool-call"
    tool_call_id: str
    tool_name: str
    args: Any


class ToolResultPart(Wire):
    """The result of a tool call. `result` is any JSON value; `isError`: it describes an error."""

    type: Literal["tool-result"] = "tool-result"
    tool_call_id: str
    tool_name: str
    result: Any
    is_error: bool
    outcome: ToolOutcome
    """What became of the tool call."""


SourceOrigin = Literal["reference", "retrieval", "tool"]
OptionalSourceOrigin = Annotated[SourceOrigin | None, Field(exclude_if=absent_when_none)]


class SourcePart(Wire):
    """A source of the answer, or a file that was sent with a message.

    - `text` is the quoted content.
    - `startLine` and `endLine` count from 1; both are included.
    - `score` is the relevance that the provider or the search gave, higher is better.
    - `origin` is "reference" if a person named it, "retrieval" if the message was searched for in the chat's
      context, "tool" if a tool found it; absent: a provider gave it. The `sourceId` of the latter two is what
      answers cite, such as [S1].
    - `contentHash` is the SHA-256 of the whole text of the file that a passage was taken from.
    """

    type: Literal["source"] = "source"
    source_id: str
    url: str
    """The URL of the source."""
    title: str
    """The title of the source."""
    text: OptionalStr = None
    """The quoted content."""
    start_line: OptionalInt = None
    end_line: OptionalInt = None
    score: OptionalFloat = None
    content_hash: OptionalStr = None
    origin: OptionalSourceOrigin = None
    """How the source came into the chat; absent: a provider gave it."""


class FilePart(Wire):
    """A file, with either `data` (base64) or `url` (http, https, or a data URL in base64).

    `mediaType` is a MIME type such as "image/png". All three are validated in params; stored files are read
    as they are.
    """

    type: Literal["file"] = "file"
    media_type: str
    data: OptionalStr = None
    url: OptionalStr = None
    """The URL of the content: http, https, or a data URL in base64."""
    title: OptionalStr = None
    """The name of the file."""

    @field_validator("media_type", "data", "url")
    @classmethod
    def _usable(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.context == CLIENT_CONTEXT:
            _CHECKS[info.field_name or ""](value)
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> "FilePart":
        if (self.data is None) == (self.url is None):
            raise ValueError("a file has either data or url")
        return self


_CHECKS = {"media_type": files.check_media_type, "data": files.check_data, "url": files.check_url}


class ReferencePart(Wire):
    """A file or a range of its lines, which the daemon reads when the message is accepted. An unsaved buffer
    has precedence over the file.

    `startLine` and `endLine` count from 1; both are included. Without them: the whole file. A `uri` such as
    "@server:uri" refers to a resource of an MCP server (see `mcp/resources`).
    """

    type: Literal["reference"] = "reference"
    uri: str
    start_line: Annotated[Line | None, Field(exclude_if=absent_when_none)] = None
    end_line: Annotated[Line | None, Field(exclude_if=absent_when_none)] = None


_PromptArguments = Annotated[dict[str, Annotated[str, Field(max_length=65_536)]], Field(max_length=64)]


class PromptPart(Wire):
    """A prompt of an MCP server (see `mcp/prompts`). The daemon asks the server for its text when the message
    is accepted, and puts that in its place.
    """

    type: Literal["prompt"] = "prompt"
    server: Annotated[str, Field(min_length=1, max_length=200)]
    """The name of the server."""
    name: Annotated[str, Field(min_length=1, max_length=1_000)]
    """The name of the prompt, as the server calls it."""
    arguments: Annotated[_PromptArguments | None, Field(exclude_if=absent_when_none)] = None
    """The arguments of the prompt by their names; null: none."""


class ToolCallDelta(Wire):
    """A streamed piece of a tool call: more of its arguments, as JSON text. The last piece of a call is a
    complete `ToolCallPart`.
    """

    type: Literal["tool-call"] = "tool-call"
    tool_call_id: str
    tool_name: str
    args_delta: str


class ToolResultDelta(Wire):
    """A streamed piece of the output of a running tool. The last piece is a complete `ToolResultPart`."""

    type: Literal["tool-result"] = "tool-result"
    tool_call_id: str
    tool_name: str
    result_delta: str


class Excerpt(Wire):
    """A part that is too large for a snapshot, a page or an event, and is delivered by reference: its text is
    only the beginning, and its data are absent. `chat/file` returns the whole part.

    `size` is the size of what is missing or cut, in bytes: of the text as UTF-8, of the file, or of the value
    as JSON. `ref` is always true.
    """

    size: Annotated[int, Field(ge=0)]
    ref: Literal[True]


class TextExcerpt(Excerpt):
    """A long text by reference. `text` is its beginning."""

    type: Literal["text"] = "text"
    text: str


class ReasoningExcerpt(Excerpt):
    """Long reasoning by reference. `text` is its beginning."""

    type: Literal["reasoning"] = "reasoning"
    text: str
    title: OptionalStr = None


class ToolCallExcerpt(Excerpt):
    """A tool call with large arguments, by reference. `args` is null."""

    type: Literal["tool-call"] = "tool-call"
    tool_call_id: str
    tool_name: str
    args: None = None


class ToolCallDeltaExcerpt(Excerpt):
    """A tool call in progress with long arguments, by reference. `argsDelta` is their beginning."""

    type: Literal["tool-call"] = "tool-call"
    tool_call_id: str
    tool_name: str
    args_delta: str


class ToolResultExcerpt(Excerpt):
    """A large tool result by reference. `result` is null."""

    type: Literal["tool-result"] = "tool-result"
    tool_call_id: str
    tool_name: str
    result: None = None
    is_error: bool
    outcome: ToolOutcome


class ToolResultDeltaExcerpt(Excerpt):
    """The output of a running tool, by reference. `resultDelta` is its beginning."""

    type: Literal["tool-result"] = "tool-result"
    tool_call_id: str
    tool_name: str
    result_delta: str


class SourceExcerpt(Excerpt):
    """A source with a long text, by reference. `text` is its beginning. Other fields: see `SourcePart`."""

    type: Literal["source"] = "source"
    source_id: str
    url: str
    title: str
    text: str
    start_line: OptionalInt = None
    end_line: OptionalInt = None
    score: OptionalFloat = None
    content_hash: OptionalStr = None
    origin: OptionalSourceOrigin = None
    """How the source came into the chat; absent: a provider gave it."""


class FileExcerpt(Excerpt):
    """A file by reference. `size` is that of the file, decoded."""

    type: Literal["file"] = "file"
    media_type: str
    title: OptionalStr = None


def _tag(value: object) -> str | None:
    """Return the tag of a part: its type in angle brackets, so that it differs from a field in a path."""
    mapping = isinstance(value, Mapping)
    kind = cast("Mapping[str, object]", value).get("type") if mapping else getattr(value, "type", None)
    return f"<{kind}>" if isinstance(kind, str) else None


def _delta_tag(value: object) -> str | None:
    """Return the tag of a streamed part. A piece is recognized by its `…Delta` field."""
    tag = _tag(value)
    if isinstance(value, Mapping):
        piece = not _PIECE_FIELDS.isdisjoint(cast("Mapping[str, object]", value))
    else:
        piece = isinstance(value, ToolCallDelta | ToolResultDelta)
    return f"{tag} delta" if piece else tag


def _excerpt_tag(value: object) -> str | None:
    """Return the tag of a part that may be delivered by reference."""
    if isinstance(value, Excerpt):
        is_delta = isinstance(value, ToolCallDeltaExcerpt | ToolResultDeltaExcerpt)
        tag = f"{_tag(value)} delta" if is_delta else _tag(value)
        return f"{tag} excerpt"
    mapping = isinstance(value, Mapping)
    is_excerpt = mapping and cast("Mapping[str, object]", value).get("ref") is True
    tag = _delta_tag(cast("object", value))
    return f"{tag} excerpt" if is_excerpt else tag


_PIECE_FIELDS = frozenset({"argsDelta", "resultDelta", "args_delta", "result_delta"})

_Text = Annotated[TextPart, Tag("<text>")]
_Reasoning = Annotated[ReasoningPart, Tag("<reasoning>")]
_ToolCall = Annotated[ToolCallPart, Tag("<tool-call>")]
_ToolResult = Annotated[ToolResultPart, Tag("<tool-result>")]
_Source = Annotated[SourcePart, Tag("<source>")]
_File = Annotated[FilePart, Tag("<file>")]

Part = Annotated[
    _Text | _Reasoning | _ToolCall | _ToolResult | _Source | _File,
    Discriminator(
        _tag,
        custom_error_type="parley_part",
        custom_error_message="must be an object with the type of a part",
    ),
]
"""One part of a message."""

InputPart = Annotated[
    _Text | _File | Annotated[ReferencePart, Tag("<reference>")] | Annotated[PromptPart, Tag("<prompt>")],
    Discriminator(
        _tag,
        custom_error_type="parley_part",
        custom_error_message="must be an object of type text, file, reference or prompt",
    ),
]
"""One part of what a client sends."""

PartDelta = Annotated[
    _Text
    | _Reasoning
    | Annotated[ToolCallDelta, Tag("<tool-call> delta")]
    | _ToolCall
    | Annotated[ToolResultDelta, Tag("<tool-result> delta")]
    | _ToolResult
    | _Source
    | _File,
    Discriminator(_delta_tag),
]
"""One streamed piece of a part, or a part in progress (`Preview.parts`)."""


_ShortExcerpt = (
    Annotated[TextExcerpt, Tag("<text> excerpt")]
    | Annotated[ReasoningExcerpt, Tag("<reasoning> excerpt")]
    | Annotated[ToolCallExcerpt, Tag("<tool-call> excerpt")]
    | Annotated[ToolResultExcerpt, Tag("<tool-result> excerpt")]
    | Annotated[SourceExcerpt, Tag("<source> excerpt")]
    | Annotated[FileExcerpt, Tag("<file> excerpt")]
)

DeliveredPart = Annotated[
    _Text | _Reasoning | _ToolCall | _ToolResult | _Source | _File | _ShortExcerpt,
    Discriminator(_excerpt_tag),
]
"""One part of a message as it is delivered: whole, or by reference (`ref: true`)."""

DeliveredPiece = Annotated[
    _Text
    | _Reasoning
    | Annotated[ToolCallDelta, Tag("<tool-call> delta")]
    | _ToolCall
    | Annotated[ToolResultDelta, Tag("<tool-result> delta")]
    | _ToolResult
    | _Source
    | _File
    | _ShortExcerpt
    | Annotated[ToolCallDeltaExcerpt, Tag("<tool-call> delta excerpt")]
    | Annotated[ToolResultDeltaExcerpt, Tag("<tool-result> delta excerpt")],
    Discriminator(_excerpt_tag),
]
"""One piece of a part, or a part in progress, as it is delivered: whole, or by reference (`ref: true`)."""


def _content_tag(value: object) -> str | None:
    return "<string>" if isinstance(value, str) else "<list>" if isinstance(value, list) else None


_IS_CONTENT = Discriminator(
    _content_tag,
    custom_error_type="parley_content",
    custom_error_message="must be a string or a list of parts",
)
_String = Annotated[str, Field(min_length=1), Tag("<string>")]


def _check_content(value: str | list[Any]) -> str | list[Any]:
    """Return content that says something: a text that is not blank, a file, or a reference."""
    texts = [value] if isinstance(value, str) else [part.text for part in value if isinstance(part, TextPart)]
    if isinstance(value, str) or len(texts) == len(value):
        check_not_blank("".join(texts))
    return value


Content = Annotated[
    _String | Annotated[list[InputPart], Field(min_length=1, max_length=1000), Tag("<list>")],
    _IS_CONTENT,
    AfterValidator(_check_content),
]
"""What a client sends: a plain string stands for one text part. Never blank."""

HistoryContent = Annotated[
    _String | Annotated[list[Part], Field(min_length=1, max_length=5000), Tag("<list>")],
    _IS_CONTENT,
]
"""What a restored message says: a plain string stands for one text part. Never empty."""
