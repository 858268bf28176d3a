"""Changes of open documents through their editors: what the editor gets, and what becomes of it."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from parley_daemon.ports.editors import EditRefusedError, OpenDocument
from parley_daemon.server.editors import OpenEditors
from parley_daemon.server.lsp import client_editor
from parley_daemon.server.wire.jsonrpc import Response
from tests.support.lsp_editor import Editor, with_editors
from tests.support.lsp_notes import changed, closed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path.resolve() / "my file.txt"


async def found(editors: OpenEditors, path: Path) -> OpenDocument:
    (document,) = await editors.documents("local", str(path))
    return document


async def test_a_change_goes_out_with_the_version_and_comes_back_as_the_editors_text(path: Path) -> None:
    client = Editor()
    editors = with_editors(client)
    client.open(path, "é😀one\r\ntwo\r\n")
    document = await found(editors, path)
    assert (document.text, document.version, document.client) == ("é😀one\r\ntwo\r\n", 1, "Vi")
    assert await editors.replace(document, "é😀ONE\r\ntwo\r\n") == "é😀ONE\r\ntwo\r\n"
    ((method, params),) = client.requests
    assert method == "workspace/applyEdit"
    (change,) = params["edit"]["documentChanges"]
    assert change == {
        "textDocument": {"uri": path.as_uri(), "version": 1},
        "edits": [
            {
                "range": {"start": {"line": 0, "character": 3}, "end": {"line": 0, "character": 6}},
                "newText": "ONE",
            }
        ],
    }
    assert (await found(editors, path)).version == 2


async def test_a_client_that_knows_no_versions_gets_plain_changes(path: Path) -> None:
    client = Editor(capabilities={"workspace": {"applyEdit": True}})
    editors = with_editors(client)
    client.open(path, "one")
    assert await editors.replace(await found(editors, path), "two") == "two"
    assert list(client.requests[0][1]["edit"]) == ["changes"]


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (
            Response(1, {"applied": False, "failureReason": "read-only"}, None),
            "Vi refused the edit: read-only",
        ),
        (
            Response(1, None, {"code": -32601, "message": "no such method"}),
            "Vi refused the edit: no such method",
        ),
        (Response(1, "what?", None), "Vi refused the edit: without a reason"),
        (None, "Vi has not answered within 30 s."),
    ],
)
async def test_a_refused_edit_is_an_error_with_the_editors_reason(
    path: Path, response: Response | None, reason: str
) -> None:
    client = Editor()
    editors = with_editors(client)
    client.open(path, "one")
    client.respond = lambda edit: response
    with pytest.raises(EditRefusedError) as error:
        await editors.replace(await found(editors, path), "two")
    assert str(error.value).startswith(reason)
    assert (await found(editors, path)).text == "one"


async def test_an_edit_of_an_older_text_is_not_sent(path: Path) -> None:
    client = Editor()
    editors = with_editors(client)
    client.open(path, "one")
    document = await found(editors, path)
    client.documents.notify(changed({"text": "one, typed by a person"}, uri=path.as_uri()))
    with pytest.raises(EditRefusedError):
        await editors.replace(document, "two")
    client.documents.notify(closed(path.as_uri()))
    with pytest.raises(EditRefusedError):
        await editors.replace(document, "two")
    assert client.requests == []


async def test_what_a_formatter_makes_of_an_edit_is_returned(path: Path) -> None:
    client = Editor()
    editors = with_editors(client)
    client.open(path, "one")

    def apply_and_format(edit: Any) -> Response:
        client.documents.notify(changed({"text": "two\n"}, uri=path.as_uri()))
        return Response(1, {"applied": True}, None)

    client.respond = apply_and_format
    assert await editors.replace(await found(editors, path), "two") == "two\n"


async def test_an_editor_that_reports_no_change_is_not_waited_for_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_editor, "REPORT_SECONDS", 0.01)
    client = Editor()
    editors = with_editors(client)
    client.open(path, "one")
    client.respond = lambda edit: Response(1, {"applied": True}, None)
    with anyio.fail_after(10):
        assert await editors.replace(await found(editors, path), "two") == "one"


async def test_a_client_without_edits_refuses_them_and_one_that_left_counts_no_longer(path: Path) -> None:
    client = Editor(capabilities={})
    editors = with_editors(client)
    client.open(path, "one")
    document = await found(editors, path)
    assert not document.can_edit
    with pytest.raises(EditRefusedError):
        await editors.replace(document, "two")
    editors.remove(client.editor)
    assert await editors.documents("local", str(path)) == []
    with pytest.raises(EditRefusedError):
        await editors.replace(document, "two")


async def test_documents_are_found_by_the_file_that_a_link_leads_to_the_last_changed_first(
    path: Path,
) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    first, second, foreign = Editor(), Editor(), Editor("somebody else")
    editors = with_editors(first, second, foreign)
    for client in (first, second, foreign):
        client.open(link, "one")
    assert list(await editors.open_paths("local")) == [str(path)]
    first.documents.notify(changed({"text": "newer"}, uri=link.as_uri()))
    texts = [document.text for document in await editors.documents("local", str(path))]
    assert texts == ["newer", "one"]


async def test_a_document_whose_file_became_a_link_to_another_one_is_not_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Editor()
    editors = with_editors(client)
    path.write_text("one", "utf-8")
    link = path.with_name("link.txt")
    link.symlink_to(path.name)
    client.open(link, "one")
    document = await found(editors, path)
    link.unlink()
    link.symlink_to("secret.txt")
    with pytest.raises(EditRefusedError, match="another file by now"):
        await editors.replace(document, "two")
    assert client.requests == []
    assert await editors.documents("local", str(path)) == []
    secret = await found(editors, path.with_name("secret.txt"))
    link.unlink()
    link.symlink_to(path.name)
    monkeypatch.setattr(client_editor, "FRESH_SECONDS", -1)
    assert await editors.documents("local", secret.path) == []
    assert (await found(editors, path)).text == "one"


async def test_the_reason_of_a_refusal_is_short(path: Path) -> None:
    client = Editor()
    editors = with_editors(client)
    client.open(path, "one")
    for reason, shown in (("x" * 10_000, "x" * 500), ({"a": 1}, "without a reason")):
        answer = Response(1, {"applied": False, "failureReason": reason}, None)
        client.respond = lambda _, answer=answer: answer
        with pytest.raises(EditRefusedError) as refused:
            await editors.replace(await found(editors, path), "two")
        assert str(refused.value) == f"Vi refused the edit: {shown}"
