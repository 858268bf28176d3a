"""The models: what is refused in params and how it is told, what is tolerated in results, how they dump."""

from typing import Any

import pytest
from pydantic import ValidationError

from parley_protocol.methods import METHODS
from parley_protocol.models.base import MAX_PROBLEMS, METADATA_LIMIT, Params, Wire, field_problems
from parley_protocol.models.chats import (
    ChatCreateParams,
    ChatDeleteParams,
    ChatGetParams,
    ChatListParams,
    ChatSubscribeParams,
    ChatUpdateParams,
)
from parley_protocol.models.events import (
    EVENT_TYPES,
    MessagePartEvent,
    StatusEvent,
    UnknownEvent,
    parse_event,
    parse_watch_event,
)
from parley_protocol.models.objects import Chat, Message, Snapshot, Usage
from parley_protocol.models.parts import FilePart, SourcePart, TextPart, ToolCallDelta, ToolCallPart
from parley_protocol.models.providers import ProviderCreateParams
from parley_protocol.models.server import InitializeParams
from parley_protocol.models.turns import ChatAskParams, ChatSendParams
from tests.support.engine.protocol_samples import chat, event, message, piece, snapshot

SEND = {"chatId": "c", "content": "Hello."}


def problems(model: type[Params], value: Any) -> dict[str, str]:
    """Return what is wrong with these params, by path."""
    with pytest.raises(ValidationError) as caught:
        model.from_wire(value)
    return {found.path: found.problem for found in field_problems(caught.value)}


# ------------------------------------------------------------------------------ params

CUSTOM = [method.params for method in METHODS.values() if method.params and issubclass(method.params, Params)]


@pytest.mark.parametrize("model", CUSTOM, ids=lambda model: model.__name__)
def test_params_refuse_a_field_that_they_do_not_know(model: type[Params]) -> None:
    assert problems(model, {"surprise": 1})["surprise"] == "is not a field of these params"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"settings": {"temprature": 0.1}}, "settings.temprature"),
        ({"settings": {"timeouts": {"idle": 1}}}, "settings.timeouts.idle"),
        (
            {"settings": {"providerOptions": {"openai": {"logits": 1}}}},
            "settings.providerOptions.openai.logits",
        ),
        ({"content": [{"type": "text", "text": "a", "lang": "en"}]}, "content[0].lang"),
        ({"client_message_id": "c"}, "client_message_id"),
    ],
)
def test_unknown_fields_deep_inside_params_are_refused_by_their_path(
    given: dict[str, Any], path: str
) -> None:
    assert problems(ChatSendParams, SEND | given) == {path: "is not a field of these params"}


NO_INPUT = "must be an object of type text, file, reference or prompt"
BAD_SENDS: list[tuple[dict[str, Any], str, str]] = [
    ({"content": ""}, "content", "must have 1 or more characters"),
    ({"content": " \n\t"}, "content", "must not be blank"),
    ({"content": "\u00a0\u200b\ufeff\x00"}, "content", "must not be blank"),
    ({"content": [{"type": "text", "text": ""}]}, "content", "must not be blank"),
    (
        {"content": [{"type": "text", "text": " "}, {"type": "text", "text": "\n"}]},
        "content",
        "must not be blank",
    ),
    ({"content": []}, "content", "must have 1 or more items"),
    ({"content": 7}, "content", "must be a string or a list of parts"),
    ({"content": None}, "content", "must be a string or a list of parts"),
    ({"content": ["a"]}, "content[0]", NO_INPUT),
    ({"content": [{"type": "reasoning", "text": "a"}]}, "content[0]", NO_INPUT),
    ({"content": [{"type": []}]}, "content[0]", NO_INPUT),
    ({"content": [{"type": "text"}]}, "content[0].text", "is missing"),
    (
        {"content": [{"type": "reference", "uri": "file:///a", "startLine": 0}]},
        "content[0].startLine",
        "must be 1 or more",
    ),
    ({"content": "\ud800"}, "content", "must be valid Unicode"),
    ({"chatId": 5}, "chatId", "must be a string"),
    ({"chatId": ""}, "chatId", "must have 1 or more characters"),
    ({"whenBusy": "later"}, "whenBusy", "must be 'queue', 'steer', 'interrupt' or 'reject'"),
    ({"settings": {"temperature": 2.1}}, "settings.temperature", "must be 2 or less"),
    ({"settings": {"temperature": "0.5"}}, "settings.temperature", "must be a number"),
    ({"settings": {"temperature": float("nan")}}, "settings.temperature", "must be 2 or less"),
    ({"settings": {"topP": -0.1}}, "settings.topP", "must be 0 or more"),
    ({"settings": {"agent": {"maxCostUsd": 0}}}, "settings.agent.maxCostUsd", "must be more than 0"),
    ({"settings": {"stop": [""]}}, "settings.stop[0]", "must have 1 or more characters"),
    ({"settings": {"maxOutputTokens": True}}, "settings.maxOutputTokens", "must be an integer"),
    ({"settings": {"timeouts": {"totalMs": 0}}}, "settings.timeouts.totalMs", "must be 1 or more"),
    ({"settings": []}, "settings", "must be an object"),
]


@pytest.mark.parametrize(("given", "path", "problem"), BAD_SENDS)
def test_a_bad_message_is_refused_in_plain_words(given: dict[str, Any], path: str, problem: str) -> None:
    assert problems(ChatSendParams, SEND | given) == {path: problem}


def test_params_have_to_be_an_object() -> None:
    assert problems(ChatListParams, [1]) == {"": "must be an object"}
    assert problems(ChatListParams, "all") == {"": "must be an object"}


def test_params_that_are_left_out_count_as_empty() -> None:
    assert ChatListParams.from_wire(None) == ChatListParams()
    assert problems(ChatSendParams, None) == {"chatId": "is missing", "content": "is missing"}


@pytest.mark.parametrize("limit", [0, 201, 1.5, "10", True])
def test_a_limit_is_an_integer_from_1_to_200(limit: object) -> None:
    assert set(problems(ChatListParams, {"limit": limit})) == {"limit"}
    assert set(problems(ChatGetParams, {"chatId": "c", "limit": limit})) == {"limit"}
    assert ChatListParams.from_wire({"limit": 200}).limit == 200
    assert ChatListParams.from_wire({}).limit == 50


def test_metadata_may_take_16_kib_of_json_and_not_a_byte_more() -> None:
    fits = {"note": "é" * ((METADATA_LIMIT - len('{"note":""}')) // 2)}
    assert ChatCreateParams.from_wire({"metadata": fits}).metadata == fits
    told = problems(ChatCreateParams, {"metadata": {"note": fits["note"] + "é"}})
    assert told == {"metadata": f"takes {METADATA_LIMIT + 1} bytes of JSON; the limit is {METADATA_LIMIT}"}


def test_metadata_that_json_cannot_carry_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert problems(ChatCreateParams, {"metadata": deep}) == {"metadata": "is nested too deeply"}
    assert problems(ChatCreateParams, {"metadata": {"a": "\udc00"}}) == {"metadata": "must be valid Unicode"}


def test_a_title_has_up_to_255_characters() -> None:
    assert ChatCreateParams.from_wire({"title": "é" * 255}).title == "é" * 255
    assert problems(ChatUpdateParams, {"chatId": "c", "title": "é" * 256}) == {
        "title": "must have 255 or fewer characters"
    }


def test_what_an_update_clears_is_told_from_what_it_leaves() -> None:
    given = ChatUpdateParams.from_wire({"chatId": "c", "systemPrompt": None})
    assert given.model_fields_set == {"chat_id", "system_prompt"}


def test_params_are_sent_with_the_fields_that_were_given_and_no_others() -> None:
    assert ChatUpdateParams(chat_id="c", title=None).to_wire() == {"chatId": "c", "title": None}
    sent = ChatSendParams(chat_id="c", content=[TextPart(text="Hi.")]).to_wire()
    assert sent == {"chatId": "c", "content": [{"type": "text", "text": "Hi."}]}
    assert ChatSendParams.from_wire(sent).content == [TextPart(text="Hi.")]


def test_chats_are_deleted_by_id_or_all_at_once_and_never_by_accident() -> None:
    assert ChatDeleteParams.from_wire({"all": True}).all is True
    assert ChatDeleteParams.from_wire({"chatIds": ["a", "b"]}).chat_ids == ["a", "b"]
    either = {"": "give either chatIds or all: true"}
    assert problems(ChatDeleteParams, {}) == either
    assert problems(ChatDeleteParams, {"chatIds": ["a"], "all": True}) == either
    assert problems(ChatDeleteParams, {"all": False}) == either
    assert problems(ChatDeleteParams, {"chatIds": []}) == {"chatIds": "must have 1 or more items"}


@pytest.mark.parametrize("token", ["events", "", 0, -3])
def test_a_token_is_a_string_or_an_integer_and_stays_what_it_was(token: str | int) -> None:
    given = ChatSubscribeParams.from_wire({"chatId": "c", "partialResultToken": token})
    assert given.partial_result_token == token
    assert type(given.partial_result_token) is type(token)


@pytest.mark.parametrize("token", [None, True, 1.5, [], {}])
def test_anything_else_is_no_token(token: object) -> None:
    told = problems(ChatSubscribeParams, {"chatId": "c", "partialResultToken": token})
    assert told == {"partialResultToken": "must be an integer or a string"}


def test_integers_that_json_parsers_would_round_are_refused() -> None:
    assert (
        ChatSubscribeParams.from_wire(
            {"chatId": "c", "partialResultToken": 1, "afterSeq": 2**53 - 1}
        ).after_seq
        == 2**53 - 1
    )
    told = problems(ChatSubscribeParams, {"chatId": "c", "partialResultToken": 1, "afterSeq": 2**53})
    assert told == {"afterSeq": "must be 9007199254740991 or less"}


@pytest.mark.parametrize("cwd", ["/home/ada", "", "C:\\work", "~/work", "project", "://x"])
def test_chats_are_listed_by_the_uri_of_a_folder_and_not_by_a_path(cwd: str) -> None:
    wanted = {"cwd": "must be a URI, such as file:///home/ada/project, not a path"}
    assert problems(ChatListParams, {"cwd": cwd}) == wanted
    for uri in ("file:///home/ada", "vscode-remote://host/home/ada"):
        assert ChatListParams.from_wire({"cwd": uri}).cwd == uri


def test_a_provider_name_can_stand_before_the_colon_of_a_model_id() -> None:
    assert ProviderCreateParams.from_wire({"provider": "my-llama.2", "type": "openai-compat"}).provider
    told = problems(ProviderCreateParams, {"provider": "a:b", "type": "openai-compat"})
    assert set(told) == {"provider"}


def test_a_file_has_data_or_a_url_and_never_both() -> None:
    told = {"content[0]": "a file has either data or url"}
    for origin in ({}, {"data": "aGk=", "url": "https://example.org/a.png"}):
        file = {"type": "file", "mediaType": "image/png", **origin}
        assert problems(ChatSendParams, {"chatId": "c", "content": [file]}) == told


def test_only_so_many_problems_are_told_and_paths_stay_short() -> None:
    many = {"x" * 1000 + str(number): 1 for number in range(100)}
    told = problems(ChatListParams, many)
    assert 0 < len(told) <= MAX_PROBLEMS
    assert max(map(len, told)) == 200


def test_a_plain_string_and_a_list_of_parts_are_both_content() -> None:
    plain = ChatSendParams.from_wire({"chatId": "c", "content": "Hi."})
    assert plain.content == "Hi."
    parts = ChatAskParams.from_wire({"chatId": "c", "content": [{"type": "text", "text": "Hi."}]})
    assert parts.content == [TextPart(text="Hi.")]


def test_a_restored_history_takes_whole_parts_with_any_arguments() -> None:
    call = {"type": "tool-call", "toolCallId": "1", "toolName": "now", "args": None}
    given = ChatCreateParams.from_wire({"messages": [{"role": "assistant", "content": [call]}]})
    assert given.messages is not None
    assert given.messages[0].content == [ToolCallPart(tool_call_id="1", tool_name="now", args=None)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z"),
        ("2020-01-01T00:00:00.123456Z", "2020-01-01T00:00:00.123Z"),
        ("2020-01-01t01:30:00.5+01:30", "2020-01-01T00:00:00.500Z"),
        ("2019-12-31T19:00:00-05:00", "2020-01-01T00:00:00.000Z"),
    ],
)
def test_the_time_of_a_restored_message_is_kept_in_utc(given: str, kept: str) -> None:
    message = {"role": "user", "content": "x", "createdAt": given}
    read = ChatCreateParams.from_wire({"messages": [message]})
    assert read.messages is not None
    assert read.messages[0].created_at == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "yesterday",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01 00:00:00Z",
        "2020-13-01T00:00:00Z",
        "2020-W01-1T00:00:00Z",
        "٢٠٢٠-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "2020-01-01T00:00:00Z\n",
    ],
)
def test_what_is_no_time_of_a_restored_message_is_refused(given: str) -> None:
    message = {"role": "user", "content": "x", "createdAt": given}
    (path,) = found = problems(ChatCreateParams, {"messages": [message]})
    assert path == "messages[0].createdAt"
    assert "RFC 3339" in found[path]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"processId": None, "clientInfo": None, "capabilities": None, "initializationOptions": None},
        {"rootUri": "file:///a", "trace": "off", "initializationOptions": {"editorTheme": "dark"}},
        {"clientInfo": {"name": "nvim", "version": "0.11.4"}},
    ],
)
def test_initialize_takes_whatever_editors_send_with_it(params: dict[str, Any]) -> None:
    assert InitializeParams.model_validate(params).to_wire().keys() == {
        "processId",
        "clientInfo",
        "capabilities",
        "rootUri",
        "workspaceFolders",
        "initializationOptions",
    }


# ----------------------------------------------------------------------------- objects


@pytest.mark.parametrize(
    ("model", "value"),
    [(Chat, chat()), (Message, message(1, "Hello.")), (Snapshot, snapshot(messages=[message(1, "a")]))],
)
def test_an_object_carries_all_its_fields_and_passes_over_unknown_ones(
    model: type[Wire], value: dict[str, Any]
) -> None:
    assert model.model_validate({**value, "novelty": {"a": 1}}).to_wire() == value


def test_an_object_is_made_by_its_python_names_and_dumped_by_those_of_the_wire() -> None:
    assert Usage(input_tokens=3, cost_usd=0.5).to_wire() == {
        "inputTokens": 3,
        "outputTokens": None,
        "totalTokens": None,
        "reasoningTokens": None,
        "cacheCreationTokens": None,
        "cacheReadTokens": None,
        "contextLimit": None,
        "costUsd": 0.5,
    }


def test_a_part_carries_only_the_fields_of_its_type() -> None:
    assert SourcePart(source_id="1", url="https://example.org", title="T", score=0.0).to_wire() == {
        "type": "source",
        "sourceId": "1",
        "url": "https://example.org",
        "title": "T",
        "score": 0.0,
    }
    assert FilePart(media_type="image/png", data="aGk=").to_wire() == {
        "type": "file",
        "mediaType": "image/png",
        "data": "aGk=",
    }
    call = ToolCallPart(tool_call_id="1", tool_name="now", args=None)
    assert call.to_wire() == {"type": "tool-call", "toolCallId": "1", "toolName": "now", "args": None}


# ------------------------------------------------------------------------------ events


def test_every_event_type_is_read_as_its_class() -> None:
    assert all(kind.model_fields["type"].default == name for name, kind in EVENT_TYPES.items())
    read = parse_event(event("status", 3, status="running"))
    assert read == StatusEvent.model_validate(event("status", 3, status="running"))
    assert (read.seq, read.span) == (3, 1)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": ""},
        {"type": "reasoning", "text": "", "signature": "s"},
        {"type": "tool-call", "toolCallId": "1", "toolName": "t", "argsDelta": '{"a"'},
        {"type": "tool-call", "toolCallId": "1", "toolName": "t", "args": None},
        {"type": "tool-result", "toolCallId": "1", "toolName": "t", "resultDelta": "line"},
        {
            "type": "tool-result",
            "toolCallId": "1",
            "toolName": "t",
            "result": None,
            "isError": True,
            "outcome": "denied",
        },
        {"type": "source", "sourceId": "1", "url": "u", "title": "t"},
        {"type": "file", "mediaType": "image/png", "url": "https://example.org/a.png"},
    ],
)
@pytest.mark.parametrize("span", [1, 7])
def test_a_streamed_piece_is_read_and_written_without_change(part: dict[str, Any], span: int) -> None:
    value = piece(9, 0, part, span=span)
    read = parse_event(value)
    assert isinstance(read, MessagePartEvent)
    assert read.span == span
    assert read.to_wire() == value


def test_a_piece_of_a_tool_call_is_told_from_the_whole_one() -> None:
    head = {"type": "tool-call", "toolCallId": "1", "toolName": "t"}
    some = parse_event(piece(1, 0, {**head, "argsDelta": "{"}))
    whole = parse_event(piece(1, 0, {**head, "args": {}}))
    kinds = [type(read.part) for read in (some, whole) if isinstance(read, MessagePartEvent)]
    assert kinds == [ToolCallDelta, ToolCallPart]


def test_an_event_of_a_later_version_keeps_its_number_and_its_fields() -> None:
    read = parse_event(event("mood_changed", 12, span=2, mood="bright"))
    assert isinstance(read, UnknownEvent)
    assert (read.type, read.seq, read.span) == ("mood_changed", 12, 2)
    assert read.to_wire()["mood"] == "bright"


@pytest.mark.parametrize("value", [{}, {"type": "status"}, {"type": "status", "chatId": "c", "seq": "x"}])
def test_what_is_no_event_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_event(value)


def test_a_watch_event_names_what_happened_to_which_chat() -> None:
    read = parse_watch_event({"type": "created", "chat": chat(title="New")})
    assert (read.type, read.chat.title) == ("created", "New")
